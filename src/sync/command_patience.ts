import type { Logger } from "@logtape/logtape";
import type { PgsyncError } from "../errors/error.ts";
import { orAborted } from "../retry/abort.ts";

/** Lets servers go away for a while, but not for ever: a command has somebody who waits for it. */
export class CommandPatience {
  readonly #given = new AbortController();
  #since: number | null = null;

  /** @param logger hears of every fault */
  constructor(private readonly limitMs: number, private readonly logger: Logger) {}

  /** Aborted with the fault that lasted too long. */
  get signal(): AbortSignal {
    return this.#given.signal;
  }

  /** Something failed and is tried again. */
  readonly onFault = (fault: PgsyncError): void => {
    const now = performance.now();
    this.#since ??= now;
    this.logger.warn("{reason} Trying again.", { reason: fault.message, code: fault.code });
    if (now - this.#since > this.limitMs) this.#given.abort(fault);
  };

  /**
   * Waits for work of which nothing is heard before it is done.
   *
   * @param late what the command gives up with where that takes too long
   * @param signal ends the waiting
   * @throws what the work throws; `late`; the signal's reason
   */
  async within<T>(work: Promise<T>, late: PgsyncError, signal: AbortSignal): Promise<T> {
    const timer = setTimeout(() => this.#given.abort(late), this.limitMs);
    try {
      return await orAborted(work, AbortSignal.any([signal, this.signal]));
    } finally {
      clearTimeout(timer);
    }
  }

  /** It goes on. */
  progress(): void {
    this.#since = null;
  }
}
