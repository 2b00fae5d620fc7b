/**
 * How long a slot has to be seen free before a standby takes it. Whoever follows it lets go of it for a moment now and then: its session
 * was cut, a walsender is to forget what it remembers, tables have changed. It is back within a second, and is not to be replaced for that.
 */
export const FREE_FOR_MS = 2_000;

/** Judges by looks, one after the other, whether the process that followed a slot is gone. */
export class FreeSlotWatch {
  #freeSince: number | null = null;

  /** @param freeForMs how long the slot has to be free */
  constructor(private readonly freeForMs: number = FREE_FOR_MS) {}

  /**
   * Notes what was seen.
   *
   * @param isFree null where the server did not answer: then whoever follows the slot has lost it, too, and gets its time to come back
   * @param now milliseconds of a monotonic clock
   * @returns whether the slot is to be taken
   */
  look(isFree: boolean | null, now: number): boolean {
    if (isFree !== true) {
      this.#freeSince = null;
      return false;
    }
    this.#freeSince ??= now;
    return now - this.#freeSince >= this.freeForMs;
  }
}
