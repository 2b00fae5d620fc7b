import { getLogger } from "@logtape/logtape";
import { backendOfQuery } from "./backend.ts";

const logger = getLogger(["pgsync", "postgres"]);

/**
 * Asks the server to cancel a statement that runs on a connection of its own. Where that fails, the statement comes to its end.
 *
 * @returns resolves when the request has been passed on, or has failed; undefined where the statement is not sent yet, or its connection is gone
 */
export function cancelStatement(query: PromiseLike<unknown>): Promise<void> | undefined {
  return backendOfQuery(query)?.cancel().catch((error: unknown) => {
    logger.debug("a statement could not be cancelled: {error}", { error });
  });
}

/**
 * Waits for a statement that runs on a connection of its own; an abort cancels it on the server. The connection is usable afterwards.
 *
 * @param query on a reserved connection: in a pool, another statement could run before it on the same one, and be hit
 * @throws the signal's reason where it was cancelled; else postgres.js' error
 */
export async function cancelledBy<T>(query: PromiseLike<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let cancelling: Promise<void> | undefined;
  const onAbort = () => {
    cancelling = cancelStatement(query);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await query;
  } catch (thrown) {
    signal.throwIfAborted();
    throw thrown;
  } finally {
    signal.removeEventListener("abort", onAbort);
    // A late request to cancel must not hit the next statement of this connection.
    await cancelling;
  }
}
