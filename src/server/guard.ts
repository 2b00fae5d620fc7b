/**
 * Who may ask the server for what. `/health`, `/ready` and `/metrics` tell nothing of documents and are open; dead letters always
 * demand the token, `/` and `/status` where one is configured.
 *
 * A page of another site cannot show the token (a browser sends no `Bearer` by itself), nor can one whose own name was made to lead here
 * (DNS rebinding).
 */
import { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import type { Context, MiddlewareHandler } from "hono";

/** What the guard goes by. */
export interface AccessRules {
  /** What a request must show; null: there is none, so nobody is let in. */
  readonly token: string | null;
  /** Whether `/` and `/status` demand it, too. */
  readonly guardsStatus: boolean;
}

/** Demands the token. */
export function demandToken({ token }: Pick<AccessRules, "token">): MiddlewareHandler {
  return async (context, next) => {
    if (token !== null && isShown(token, context)) return await next();
    // Basic, with the token for a password, is for a person with a browser.
    context.header("WWW-Authenticate", 'Bearer realm="pgsync", Basic realm="pgsync"');
    return context.json({
      error: "This server wants a token: Authorization: Bearer …",
      code: "STATUS_LOGIN",
    }, 401);
  };
}

/** A browser sends Basic by itself, with whatever request; so it counts for reading only. */
function isShown(token: string, context: Context): boolean {
  const header = context.req.header("authorization") ?? "";
  const [, scheme = "", value = ""] = /^(\S+) +(\S+)$/.exec(header) ?? [];
  if (scheme.toLowerCase() === "bearer") return areEqual(value, token);
  if (scheme.toLowerCase() !== "basic" || !["GET", "HEAD"].includes(context.req.method)) return false;
  const login = Buffer.from(value, "base64").toString("utf8");
  return areEqual(login.slice(login.indexOf(":") + 1), token);
}

/** In a time that tells nothing of the token, its length included. */
function areEqual(shown: string, token: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(shown), digest(token));
}
