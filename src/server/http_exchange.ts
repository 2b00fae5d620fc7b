/** From a request of `node:http` to one of the Fetch standard, and back with its answer. */
import { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";

/** A server that answers requests; an `app` of Hono is one. */
export interface FetchHandler {
  fetch(request: Request): Response | Promise<Response>;
}

/** A request that is refused; its message is the answer. */
export class BadRequest extends Error {
  override readonly name = "BadRequest";

  /** @param status of the answer */
  constructor(readonly status: 400 | 405 | 413, message: string) {
    super(message);
  }
}

/** Host names, IPv4 and bracketed IPv6 addresses, with a port or without: nothing that would lead a URL elsewhere. */
const HOST = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;
/** Of these there is no request in the Fetch standard. */
const METHODS_OUTSIDE_FETCH: ReadonlySet<string> = new Set(["CONNECT", "TRACE", "TRACK"]);

/**
 * Reads a request, its body included.
 *
 * @param mostBytes of its body
 * @throws BadRequest 400, 405, 413; the socket's error
 */
export async function readRequest(message: IncomingMessage, mostBytes: number): Promise<Request> {
  const { method = "GET", url: target = "" } = message;
  if (METHODS_OUTSIDE_FETCH.has(method)) throw new BadRequest(405, "There is no such method here.");
  // HTTP/1.0 knows no Host; such a name is nobody's.
  const host = message.headers.host ?? "host.invalid";
  const address = `http://${host}${target}`;
  if (!HOST.test(host) || !target.startsWith("/") || !URL.canParse(address)) {
    throw new BadRequest(400, "The request is malformed (its Host, or its path).");
  }
  const headers = new Headers();
  for (const [name, value] of Object.entries(message.headers)) {
    for (const each of typeof value === "string" ? [value] : value ?? []) headers.append(name, each);
  }
  const body = await readBody(message, mostBytes);
  const without = method === "GET" || method === "HEAD" || body.length === 0;
  return new Request(
    address,
    without ? { method, headers } : { method, headers, body: new Uint8Array(body) },
  );
}

async function readBody(message: IncomingMessage, mostBytes: number): Promise<Buffer> {
  const tooLarge = new BadRequest(413, `The request has more than ${mostBytes} bytes.`);
  if (Number(message.headers["content-length"] ?? 0) > mostBytes) throw tooLarge;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > mostBytes) throw tooLarge;
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

/** Sends an answer, and closes the connection behind it. */
export async function sendResponse(response: Response, to: ServerResponse): Promise<void> {
  const body = Buffer.from(await response.arrayBuffer());
  to.statusCode = response.status;
  response.headers.forEach((value, name) => to.setHeader(name, value));
  to.setHeader("connection", "close");
  // Of the answer to HEAD there is no body, of which there could be a length.
  if (to.req.method !== "HEAD") to.setHeader("content-length", body.length);
  to.end(body);
}
