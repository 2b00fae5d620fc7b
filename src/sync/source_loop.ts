import { getLogger } from "@logtape/logtape";
import { delayOrAbort } from "../retry/backoff.ts";
import type { LookResult, SourceWatch } from "./source_watch.ts";

const logger = getLogger(["pgsync", "sync"]);

/** What the stream shows may ask for a look at once, but not oftener than this. */
const SHORTEST_PAUSE_MS = 50;

/** Looks at the tables at an interval, and at once when somebody has reason to think that they have changed. */
export class SourceLoop {
  #hurry = new AbortController();

  constructor(
    private readonly watch: SourceWatch,
    /** Milliseconds. */
    private readonly interval: number,
    /** Told of each completed look, with the time when it began. */
    private readonly onLook: (result: LookResult, began: Date) => void,
  ) {}

  /** Asks for a look at once. */
  soon(): void {
    this.#hurry.abort();
  }

  /** Looks until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#hurry = new AbortController();
      const began = new Date();
      try {
        const result = await this.watch.look();
        if (!signal.aborted) this.onLook(result, began);
      } catch (error) {
        logger.debug("the tables could not be looked at: {error}", { error });
      }
      const shortest = Math.min(SHORTEST_PAUSE_MS, this.interval);
      await delayOrAbort(shortest, signal);
      await delayOrAbort(this.interval - shortest, AbortSignal.any([signal, this.#hurry.signal]));
    }
  }
}
