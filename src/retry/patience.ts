import type { NextStep } from "../errors/codes.ts";
import type { PgsyncError } from "../errors/error.ts";
import { backoffDelay, delay } from "./backoff.ts";

/** Waits between attempts while a server is away: up to 0.2 s at first, up to 10 s later. */
const RETRY_LIMITS = { baseMs: 200, capMs: 10_000 };

/** Told of each failure that is followed by another attempt. What it returns is called when the work succeeds after all. */
export type OnFault = (fault: PgsyncError) => void | (() => void);

/**
 * Whether the same may succeed when it is tried again. Where the server is another one, all of the run has to begin anew.
 *
 * @param next what follows the error; for whoever has been connected it may be something else (`nextOnceConnected`)
 */
export function isTemporary(error: PgsyncError, next: NextStep = error.next): boolean {
  return next === "retry" && error.code !== "SERVER_CHANGED";
}

/**
 * Runs work against a server again and again while it fails for a temporary reason, or because nobody is let in any more.
 *
 * @param work must be safe to repeat
 * @param errorOf makes an error of ours of what the work threw
 * @param mayPass which failures are followed by another attempt
 * @throws PgsyncError that is not; the signal's reason
 */
export async function patiently<T>(
  work: () => Promise<T>,
  errorOf: (thrown: unknown) => PgsyncError,
  onFault: OnFault,
  signal: AbortSignal,
  // Work is done with what has logged in before.
  mayPass = (error: PgsyncError) => isTemporary(error, error.nextOnceConnected),
): Promise<T> {
  let succeeded: (() => void) | void = undefined;
  for (let attempt = 0;; attempt++) {
    signal.throwIfAborted();
    try {
      const result = await work();
      succeeded?.();
      return result;
    } catch (thrown) {
      signal.throwIfAborted();
      const error = errorOf(thrown);
      if (!mayPass(error)) throw error;
      succeeded = onFault(error);
      await delay(backoffDelay(attempt, RETRY_LIMITS), signal);
    }
  }
}
