/**
 * Who may ask the server for what. `/health` and `/metrics` tell nothing of documents and are open, and so is whether the run is ready;
 * dead letters always demand the token, `/`, `/status` and the reasons of `/ready` where one is configured.
 *
 * A page of another site cannot show the token (a browser sends no `Bearer` by itself), nor can one whose own name was made to lead here
 * (DNS rebinding). Where none is configured, and only this machine can connect, such a page is known by the name that it asks for.
 */
import { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import type { Context, MiddlewareHandler } from "hono";

/** What the guard goes by. */
export interface AccessRules {
  /** What a request must show. */
  readonly token: string;
  /** Whether `/`, `/status` and the reasons of `/ready` demand it, too. */
  readonly guardsStatus: boolean;
  /** Whether a request for this host name can be meant for this server. */
  readonly isOwnName: (hostname: string) => boolean;
}

/** Demands the token. */
export function demandToken({ token }: Pick<AccessRules, "token">): MiddlewareHandler {
  return async (context, next) => {
    if (isShown(token, context)) return await next();
    // Basic, with the token for a password, is for a person with a browser.
    context.header("WWW-Authenticate", 'Bearer realm="pgsync", Basic realm="pgsync"');
    return context.json({
      error: "This server wants a token: Authorization: Bearer …",
      code: "STATUS_LOGIN",
    }, 401);
  };
}

/** Whether whoever asks may read the status: by the token where one is configured, else by the name that he asks for. */
export function mayReadStatus({ token, guardsStatus, isOwnName }: AccessRules, context: Context): boolean {
  return guardsStatus ? isShown(token, context) : isOwnName(new URL(context.req.url).hostname);
}

/** Refuses requests for the name of another machine. */
export function demandOwnName({ isOwnName }: Pick<AccessRules, "isOwnName">): MiddlewareHandler {
  return async (context, next) => {
    if (isOwnName(new URL(context.req.url).hostname)) return await next();
    return context.json({
      error:
        "This server listens for its own machine only, so it is asked as localhost, 127.0.0.1 or [::1]: a proxy before it must set such a Host, or PGSYNC_TOKEN be set.",
    }, 421);
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
