import { delayOrAbort } from "../../retry/backoff.ts";
import type { LookResult, SourceWatch } from "./source_watch.ts";

/** What the stream shows may ask for a look at once, but not oftener than this. */
const SHORTEST_PAUSE_MS = 50;

/** Who is told of looks. */
export interface LookListener {
  /** A look was completed. @param began when */
  readonly onLook: (result: LookResult, began: Date) => void;
  /** A look failed. @param since when the first of those began that have failed without one between that was completed */
  readonly onFailure: (error: unknown, since: Date) => void;
}

/** Looks at the tables at an interval, and at once when somebody has reason to think that they have changed. */
export class SourceLoop {
  #hurry = new AbortController();
  /** When the first of the looks began that have failed since the last one that did not; null where none has. */
  #failingSince: Date | null = null;

  constructor(
    private readonly watch: Pick<SourceWatch, "look">,
    /** Milliseconds. */
    private readonly interval: number,
    private readonly listener: LookListener,
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
        this.#failingSince = null;
        if (!signal.aborted) this.listener.onLook(result, began);
      } catch (error) {
        this.#failingSince ??= began;
        if (!signal.aborted) this.listener.onFailure(error, this.#failingSince);
      }
      const shortest = Math.min(SHORTEST_PAUSE_MS, this.interval);
      await delayOrAbort(shortest, signal);
      await delayOrAbort(this.interval - shortest, AbortSignal.any([signal, this.#hurry.signal]));
    }
  }
}
