/**
 * Lets a limited number of requests run at once; the others wait in order of arrival.
 *
 * @example
 * ```ts
 * const release = await semaphore.acquire(signal);
 * try { … } finally { release(); }
 * ```
 */
export class Semaphore {
  #free: number;
  readonly #waiting = new Set<() => void>();

  /** @param permits how many may run at once, at least 1 */
  constructor(readonly permits: number) {
    if (!Number.isInteger(permits) || permits < 1) {
      throw new RangeError(`not a number of permits: ${permits}`);
    }
    this.#free = permits;
  }

  /** How many run now. */
  get running(): number {
    return this.permits - this.#free;
  }

  /**
   * Waits for a turn.
   *
   * @returns ends the turn; further calls do nothing
   * @throws the signal's reason, where it is or becomes aborted
   */
  async acquire(signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#wait(signal);
    let held = true;
    return () => {
      if (held) this.#release();
      held = false;
    };
  }

  #wait(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.delete(turn);
        reject(signal?.reason);
      };
      const turn = () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      };
      this.#waiting.add(turn);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  #release(): void {
    // The permit passes on to the one that waits longest, without becoming free in between.
    for (const turn of this.#waiting) {
      this.#waiting.delete(turn);
      turn();
      return;
    }
    this.#free++;
  }
}
