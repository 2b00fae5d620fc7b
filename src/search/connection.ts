import { type ClientRequest, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import process from "node:process";
import { type ConnectionOptions, HttpConnection } from "@elastic/elasticsearch";

/** From this length on a body is written by itself. */
const LARGE_BODY = 64 * 1024;

/**
 * The client library's connection on `node:http`; its default one, on undici, does not work on Bun.
 *
 * Deno sends a request again by itself when a reused socket closes before the answer, even if it was closed because the
 * request was aborted (https://github.com/denoland/deno/issues/36786): an abort would then wait for the second answer,
 * and a bulk request that has become too old would be sent after all. It does so for requests that it knows to be on a
 * reused socket, so it is kept from knowing. Trying again is this program's own business.
 */
export class SearchConnection extends HttpConnection {
  constructor(options: ConnectionOptions) {
    super(options);
    const open = this.url.protocol === "https:" ? httpsRequest : httpRequest;
    const request = (...args: unknown[]): ClientRequest => {
      const made: ClientRequest = Reflect.apply(open, undefined, args);
      made.once("socket", () => {
        made.reusedSocket = false;
      });
      made.end = endOf(made);
      return made;
    };
    this.makeRequest = request;
  }
}

/**
 * `end`, by which a large body goes by itself, after the head: what is written together, Bun and Node join to one more copy of it, megabytes
 * of garbage for each request.
 */
function endOf(request: ClientRequest): ClientRequest["end"] {
  const end = request.end.bind(request);
  return (...args: unknown[]): ClientRequest => {
    const [body] = args;
    if (!Buffer.isBuffer(body) || body.length < LARGE_BODY) return Reflect.apply(end, undefined, args);
    request.flushHeaders();
    // The head is written right after this event.
    request.once("socket", () =>
      process.nextTick(() => {
        if (request.destroyed) return;
        request.write(body, (error) => {
          if (!error && !request.destroyed) end();
        });
      }));
    return request;
  };
}
