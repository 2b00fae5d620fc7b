import { PgsyncError } from "../errors/error.ts";

/** A server that answers requests; an `app` of Hono is one. */
export interface FetchHandler {
  fetch(request: Request): Response | Promise<Response>;
}

/** A server that listens. */
export interface Listener {
  readonly hostname: string;
  /** The real one, also where 0 was asked for. */
  readonly port: number;
  /** Stops listening; open requests are cut off. */
  close(): Promise<void>;
}

/** Deno.serve as far as it is used (https://docs.deno.com/api/deno/~/Deno.serve). */
interface DenoRuntime {
  serve(
    options: { hostname: string; port: number; signal: AbortSignal; onListen(): void },
    handler: (request: Request) => Response | Promise<Response>,
  ): { readonly addr: { readonly port: number }; readonly finished: Promise<void> };
}

/** Bun.serve as far as it is used (https://bun.sh/docs/api/http). */
interface BunRuntime {
  serve(
    options: {
      hostname: string;
      port: number;
      idleTimeout: number;
      fetch(request: Request): Response | Promise<Response>;
    },
  ): { readonly port: number; stop(closeActiveConnections: boolean): Promise<void> | void };
}

/**
 * Listens on an address, by the means of the runtime.
 *
 * @param address port 0 takes a free one
 * @throws PgsyncError LISTEN where the address is in use or is not this machine's
 */
export function listen(
  handler: FetchHandler,
  address: { readonly hostname: string; readonly port: number },
): Listener {
  const { hostname, port } = address;
  const fetch = (request: Request) => handler.fetch(request);
  try {
    const bun: unknown = Reflect.get(globalThis, "Bun");
    if (serves<BunRuntime>(bun)) {
      // idleTimeout 0: no request is cut off because it waits
      const server = bun.serve({ hostname, port, idleTimeout: 0, fetch });
      return {
        hostname,
        port: server.port,
        close: async () => {
          await server.stop(true);
        },
      };
    }
    const deno: unknown = Reflect.get(globalThis, "Deno");
    if (serves<DenoRuntime>(deno)) {
      const stop = new AbortController();
      const server = deno.serve({ hostname, port, signal: stop.signal, onListen: () => {} }, fetch);
      return {
        hostname,
        port: server.addr.port,
        close: () => {
          stop.abort();
          return server.finished;
        },
      };
    }
  } catch (thrown) {
    throw new PgsyncError(
      "LISTEN",
      `The status server cannot listen on ${hostname}:${port}: ${reason(thrown)}.`,
      {
        cause: thrown,
      },
    );
  }
  throw new PgsyncError("LISTEN", "The status server needs Deno or Bun.", { remedy: "Use --listen off." });
}

function serves<Runtime extends { serve: unknown }>(runtime: unknown): runtime is Runtime {
  return typeof runtime === "object" && runtime !== null && "serve" in runtime &&
    typeof runtime.serve === "function";
}

function reason(thrown: unknown): string {
  if (thrown instanceof Error && "code" in thrown && thrown.code === "EADDRINUSE") return "it is in use";
  return thrown instanceof Error ? thrown.message.replace(/\.$/, "") : String(thrown);
}
