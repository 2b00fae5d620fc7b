import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { getLogger } from "@logtape/logtape";
import { PgsyncError } from "../errors/error.ts";
import { MOST_BODY_BYTES } from "./dead_letters_json.ts";
import { BadRequest, type FetchHandler, readRequest, sendResponse } from "./http_exchange.ts";

/** A server that listens. */
export interface Listener {
  readonly hostname: string;
  /** The real one, also where 0 was asked for. */
  readonly port: number;
  /** Stops listening; open requests are cut off. */
  close(): Promise<void>;
}

/** What clients get. */
export interface ListenLimits {
  /** Connections at once; one more takes the place of the one that has been asking for longest. */
  readonly connections: number;
  /** The largest head of a request, in bytes, */
  readonly headBytes: number;
  /** and the largest body. */
  readonly bodyBytes: number;
  /** For the whole of a request, in milliseconds. */
  readonly requestMs: number;
  /** To take the answer, in milliseconds. */
  readonly answerMs: number;
}

/** Prometheus, a container's health check and some people's browsers need far less. */
const LIMITS: ListenLimits = {
  connections: 32,
  headBytes: 16 * 1024,
  bodyBytes: MOST_BODY_BYTES,
  requestMs: 10_000,
  answerMs: 30_000,
};

/**
 * Listens on an address. Each connection carries one request.
 *
 * It is `node:http`, of which Deno and Bun have the limits; their own servers wait for ever for a client that sends a byte now and then.
 *
 * @param address port 0 takes a free one
 * @throws PgsyncError LISTEN where the address is in use or is not this machine's
 */
export async function listen(
  handler: FetchHandler,
  address: { readonly hostname: string; readonly port: number },
  limits: ListenLimits = LIMITS,
): Promise<Listener> {
  const { hostname } = address;
  const { headBytes, bodyBytes, requestMs, answerMs } = limits;
  const sockets = new Set<Socket>();
  /** Those whose request is not complete. */
  const asking = new Set<Socket>();
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    try {
      const read = await readRequest(request, bodyBytes);
      asking.delete(socket);
      await sendResponse(await handler.fetch(read), response);
    } catch (thrown) {
      // A client that has gone away has nobody to be told.
      if (socket.destroyed) return;
      await sendResponse(refusal(thrown, request), response);
    } finally {
      asking.delete(socket);
      // The end of one that has gone away was told before.
      if (!socket.destroyed) {
        const limit = setTimeout(() => socket.destroy(), answerMs);
        socket.once("close", () => clearTimeout(limit));
      }
    }
  };
  const server = createServer({
    maxHeaderSize: headBytes,
    headersTimeout: requestMs,
    requestTimeout: requestMs,
    connectionsCheckingInterval: Math.min(1_000, requestMs / 2),
  }, (request, response) => void answer(request, response));
  // Bun tells of a connection when its first bytes are there; those that are silent are only counted, and end by their time.
  server.maxConnections = limits.connections * 4;
  // `connection: close` alone does not keep Deno from handling what was sent behind the request.
  server.maxRequestsPerSocket = 1;
  server.on("connection", (socket) => {
    if (sockets.size >= limits.connections) makeRoom(sockets, asking);
    sockets.add(socket);
    asking.add(socket);
    socket.once("close", () => {
      sockets.delete(socket);
      asking.delete(socket);
    });
  });
  const port = await listening(server, hostname, address.port);
  return {
    hostname,
    port,
    close: async () => {
      const { promise: closed, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      server.closeAllConnections();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Whoever has asked gets an answer; a client that is slow to ask, in good faith or not, gives way to one that comes. */
function makeRoom(sockets: Set<Socket>, asking: Set<Socket>): void {
  const [oldest] = asking.size > 0 ? asking : sockets;
  if (oldest === undefined) return;
  // Its "close" comes later; the next one that comes must not take the same place.
  sockets.delete(oldest);
  asking.delete(oldest);
  oldest.destroy();
}

function refusal(thrown: unknown, { method, url }: IncomingMessage): Response {
  if (thrown instanceof BadRequest) {
    return Response.json({ error: thrown.message }, { status: thrown.status });
  }
  getLogger(["pgsync", "server"]).error("{method} {path} failed", { method, path: url, error: thrown });
  return Response.json({ error: "The request failed; the log says why." }, { status: 500 });
}

function listening(server: Server, hostname: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: Error) => {
      const message = `The status server cannot listen on ${hostname}:${port}: ${reason(cause)}.`;
      reject(new PgsyncError("LISTEN", message, { cause }));
    };
    server.once("error", refuse);
    server.listen({ host: hostname, port }, () => {
      server.off("error", refuse);
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}

function reason(thrown: Error): string {
  if ("code" in thrown && thrown.code === "EADDRINUSE") return "it is in use";
  return thrown.message.replace(/\.$/, "");
}
