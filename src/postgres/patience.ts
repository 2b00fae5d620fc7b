import type { PgsyncError } from "../errors/error.ts";
import { backoffDelay, delay } from "../retry/backoff.ts";
import { isTemporary } from "./errors.ts";

/** Waits between attempts while a server is away: up to 0.2 s at first, up to 10 s later. */
const RETRY_LIMITS = { baseMs: 200, capMs: 10_000 };

/**
 * Runs work against a server again and again while it fails for a temporary reason, or because nobody is let in any more.
 *
 * @param work must be safe to repeat
 * @param errorOf makes an error of ours of what the work threw
 * @param onFault told of each failure that is followed by another attempt
 * @throws PgsyncError that is not temporary; the signal's reason
 */
export async function patiently<T>(
  work: () => Promise<T>,
  errorOf: (thrown: unknown) => PgsyncError,
  onFault: (fault: PgsyncError) => void,
  signal: AbortSignal,
): Promise<T> {
  for (let attempt = 0;; attempt++) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (thrown) {
      signal.throwIfAborted();
      const error = errorOf(thrown);
      // Work is done with what has logged in before.
      if (!isTemporary(error, error.nextOnceConnected)) throw error;
      onFault(error);
      await delay(backoffDelay(attempt, RETRY_LIMITS), signal);
    }
  }
}
