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

/** What becomes of work that has failed: another attempt, later, or nothing. Counts the failures of one piece of work. */
export class Patience {
  #attempt = 0;
  #succeeded: (() => void) | void = undefined;

  /**
   * @param errorOf makes an error of ours of what the work threw
   * @param mayPass which failures are followed by another attempt
   */
  constructor(
    private readonly errorOf: (thrown: unknown) => PgsyncError,
    private readonly onFault: OnFault,
    private readonly signal: AbortSignal,
    // Work is done with what has logged in before.
    private readonly mayPass = (error: PgsyncError) => isTemporary(error, error.nextOnceConnected),
  ) {}

  /** The work is done. */
  succeeded(): void {
    this.#succeeded?.();
    this.#succeeded = undefined;
    this.#attempt = 0;
  }

  /**
   * The work has failed. Returns when it is time for another attempt.
   *
   * @throws PgsyncError where none may follow; the signal's reason
   */
  async failed(thrown: unknown): Promise<void> {
    this.signal.throwIfAborted();
    const error = this.errorOf(thrown);
    if (!this.mayPass(error)) throw error;
    this.#succeeded = this.onFault(error);
    await delay(backoffDelay(this.#attempt++, RETRY_LIMITS), this.signal);
  }
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
  mayPass?: (error: PgsyncError) => boolean,
): Promise<T> {
  const patience = new Patience(errorOf, onFault, signal, mayPass);
  for (;;) {
    signal.throwIfAborted();
    try {
      const result = await work();
      patience.succeeded();
      return result;
    } catch (thrown) {
      await patience.failed(thrown);
    }
  }
}
