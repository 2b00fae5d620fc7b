/**
 * Who may ask the server for what.
 *
 * A token, where one is configured, opens everything but `/health`, `/ready` and `/metrics`, which tell nothing of documents. Without
 * one, dead letters are for this machine only, and browsers are kept from asking on behalf of other sites.
 */
import { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import type { Context, MiddlewareHandler } from "hono";
import { REQUEST_HEADER } from "./dead_letters_json.ts";

/** What the guard goes by. */
export interface AccessRules {
  /** What a request must show; null: nothing. */
  readonly token: string | null;
  /** The address that the server listens on. */
  readonly hostname: string;
}

/** Demands the token, where one is configured. */
export function demandToken({ token }: AccessRules): MiddlewareHandler {
  return async (context, next) => {
    if (token === null || isShown(token, context)) return await next();
    // Basic, with the token for a password, is for a person with a browser.
    context.header("WWW-Authenticate", 'Bearer realm="pgsync", Basic realm="pgsync"');
    return context.json({
      error: "This server wants a token: Authorization: Bearer …",
      code: "STATUS_LOGIN",
    }, 401);
  };
}

/**
 * Without a token: only who is on this machine, and asks for it by a name of this machine. A page whose own name was made to lead here
 * (DNS rebinding) asks by that name.
 */
export function demandLoopback({ token, hostname }: AccessRules): MiddlewareHandler {
  return async (context, next) => {
    if (token !== null) return await next();
    const asked = new URL(context.req.url).hostname;
    if (isLoopback(hostname) && isLoopback(asked)) return await next();
    return refused(
      context,
      isLoopback(hostname)
        ? `Without a token, the server must be asked by a name of this machine (localhost), not "${asked}".`
        : `The server listens on ${hostname}, so dead letters are to be had with a token only.`,
      "Set PGSYNC_TOKEN or PGSYNC_TOKEN_FILE for the run and for whoever asks it.",
    );
  };
}

/** Demands of a request that changes something what a page of another site cannot have its reader's browser send. */
export function demandSameSite(): MiddlewareHandler {
  return async (context, next) => {
    const type = context.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
    if (type !== "application/json") {
      return context.json({ error: "The request's content type must be application/json." }, 415);
    }
    if (context.req.header(REQUEST_HEADER) === undefined) {
      return refused(context, `The request has no header ${REQUEST_HEADER}.`, "Send it, with any value.");
    }
    const site = context.req.header("sec-fetch-site");
    const foreign = site !== undefined && site !== "same-origin" && site !== "none";
    if (foreign || !isOwnOrigin(context)) {
      return refused(
        context,
        "The request comes from a page of another site.",
        "Ask from the server's own page.",
      );
    }
    return await next();
  };
}

function refused(context: Context, error: string, remedy: string): Response {
  return context.json({ error, code: "REQUEST_REFUSED", remedy }, 403);
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

/** `null`, the origin of a page without one, is foreign too. */
function isOwnOrigin(context: Context): boolean {
  const origin = context.req.header("origin");
  if (origin === undefined) return true;
  return URL.canParse(origin) && new URL(origin).host === new URL(context.req.url).host;
}

/** Whether a name or address means this machine to itself: localhost, 127.0.0.0/8, ::1. */
export function isLoopback(hostname: string): boolean {
  const name = hostname.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  return name === "localhost" || name === "::1" || (isIP(name) === 4 && name.startsWith("127."));
}
