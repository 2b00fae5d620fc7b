/** Reckons how fast a count grows, over the last seconds. */
export class RateMeter {
  #samples: { readonly at: number; readonly value: number }[] = [];

  /** @param windowMs how far back it looks */
  constructor(private readonly windowMs = 10_000) {}

  /**
   * Takes note of the count.
   *
   * @param at milliseconds of any clock that goes evenly
   */
  add(at: number, value: number): void {
    this.#samples.push({ at, value });
    // one sample older than the window is kept, so that the window is covered
    while (this.#samples.length > 2 && at - (this.#samples[1]?.at ?? at) >= this.windowMs) {
      this.#samples.shift();
    }
  }

  /** Growth per second; 0 while nothing is known. */
  perSecond(): number {
    const first = this.#samples.at(0);
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.at <= first.at) return 0;
    return Math.max(0, (last.value - first.value) * 1000 / (last.at - first.at));
  }

  /** Seconds until the count reaches `goal` at this rate; null while it does not grow. */
  secondsTo(goal: number): number | null {
    const rate = this.perSecond();
    const last = this.#samples.at(-1);
    if (rate === 0 || last === undefined) return null;
    return Math.max(0, (goal - last.value) / rate);
  }
}
