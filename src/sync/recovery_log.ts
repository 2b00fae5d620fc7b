/** A shorter outage is a hiccup, which nobody needs to hear the end of. */
const OUTAGE_FROM_MS = 1_000;
/** Where outages follow each other, their ends are told of so often. */
const TOLD_EVERY_MS = 60_000;

/**
 * Which ends of outages are worth a line of the log: of those that it has told of, and not one after the other where requests fail now
 * and then, as they do in an overload, or where one node of several does not answer. Times are milliseconds since 1970.
 */
export class RecoveryLog {
  /** Outages whose end is still to be told, as one. */
  #untold: { readonly since: number; readonly until: number } | null = null;
  #toldAt: number | null = null;

  /**
   * @param warnedAt when the log last told that something failed; null: never
   * @param tell told how long it took, in seconds
   */
  constructor(
    private readonly warnedAt: () => number | null,
    private readonly tell: (seconds: number) => void,
  ) {}

  /** An outage is over. */
  over(since: number, now: number): void {
    if (now - since < OUTAGE_FROM_MS) return;
    this.#untold = { since: this.#untold?.since ?? since, until: now };
    this.isWell(now);
  }

  /** Nothing fails: what could not be told at once may be told now. */
  isWell(now: number): void {
    if (this.#untold === null) return;
    const { since, until } = this.#untold;
    if ((this.warnedAt() ?? 0) < since) {
      this.#untold = null;
      return;
    }
    if (this.#toldAt !== null && now - this.#toldAt < TOLD_EVERY_MS) return;
    this.#untold = null;
    this.#toldAt = now;
    this.tell((until - since) / 1000);
  }
}
