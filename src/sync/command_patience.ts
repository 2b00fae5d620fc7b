import type { Logger } from "@logtape/logtape";
import type { PgsyncError } from "../errors/error.ts";

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

  /** It goes on. */
  progress(): void {
    this.#since = null;
  }
}
