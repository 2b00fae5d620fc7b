import { type ClientRequest, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { type ConnectionOptions, HttpConnection } from "@elastic/elasticsearch";

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
      return made;
    };
    this.makeRequest = request;
  }
}
