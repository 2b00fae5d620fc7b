/**
 * A part of the memory budget, in bytes. Who needs memory waits for it, in order of arrival; who cannot wait, for what it holds arrives unasked,
 * has it counted and stops its source.
 *
 * The rule by which whatever is waited for comes, and by which one server that is away, slow or locked does not stop those who read from another:
 * **nobody waits with bytes in hand**, neither for more bytes or another holder, nor for another attempt, nor for a server to come back. Two
 * waits are left, and each ends by itself: for the rest of a statement that has begun to send the very documents (one attempt; room that
 * is still empty after a second is lent to others meanwhile), and for the search engine's answer to what the bytes are. Whoever has to wait for anything else gives
 * the bytes back, waits, and begins anew.
 *
 * @example
 * ```ts
 * using held = await share.acquire(2_000_000, signal);
 * ```
 */
export class MemoryShare {
  #held = 0;
  #most = 0;
  readonly #waiting = new Set<Waiting>();

  /**
   * @param limit bytes that may be held at once, by whoever waits for them
   * @param onChange told after each change of what is held
   */
  constructor(readonly limit: number, private readonly onChange: () => void = () => {}) {
    if (!(limit > 0)) throw new RangeError(`not a number of bytes: ${limit}`);
  }

  /** Bytes that are held now. */
  get held(): number {
    return this.#held;
  }

  /** The most that was ever held. */
  get most(): number {
    return this.#most;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Waits until the bytes are free. More than the whole share is given when nobody else holds any: it passes alone.
   *
   * @throws the signal's reason, where it is or becomes aborted; RangeError where that is no number of bytes
   */
  async acquire(bytes: number, signal?: AbortSignal): Promise<Held> {
    signal?.throwIfAborted();
    const held = this.tryAcquire(bytes);
    if (held !== null) return held;
    await this.#wait(bytes, signal);
    return this.#give(bytes);
  }

  /** The bytes, where they are free and nobody waits; else null. */
  tryAcquire(bytes: number): Held | null {
    // What is not finite could never be given back.
    if (!(bytes >= 0 && bytes < Infinity)) throw new RangeError(`not a number of bytes: ${bytes}`);
    if (this.#waiting.size > 0 || !this.#fits(bytes)) return null;
    this.#change(bytes);
    return this.#give(bytes);
  }

  /** Counts bytes that are there already. To be bounded by whoever has them. */
  count(bytes: number): Held {
    this.#change(bytes);
    return this.#give(bytes);
  }

  #fits(bytes: number): boolean {
    return this.#held === 0 || this.#held + bytes <= this.limit;
  }

  #give(bytes: number): Held {
    return new Held(bytes, {
      resize: (difference) => this.#change(difference),
      tryGrow: (more) => {
        if (this.#waiting.size > 0 || this.#held + more > this.limit) return false;
        this.#change(more);
        return true;
      },
    });
  }

  /** Resolves when the bytes are counted as held. */
  #wait(bytes: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.delete(waiting);
        reject(signal?.reason);
        // It may have kept smaller ones behind it waiting.
        this.#serve();
      };
      const granted = () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      };
      const waiting: Waiting = { bytes, granted };
      this.#waiting.add(waiting);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  #change(difference: number): void {
    this.#held += difference;
    if (this.#held > this.#most) this.#most = this.#held;
    this.onChange();
    if (difference < 0) this.#serve();
  }

  /** In order of arrival: a large one is not passed by small ones for ever. */
  #serve(): void {
    for (const waiting of this.#waiting) {
      if (!this.#fits(waiting.bytes)) return;
      this.#waiting.delete(waiting);
      this.#held += waiting.bytes;
      if (this.#held > this.#most) this.#most = this.#held;
      this.onChange();
      waiting.granted();
    }
  }
}

/** Bytes of a share, until they are given back. */
export class Held implements Disposable {
  #bytes: number;
  #released = false;

  /** @param share where they are of */
  constructor(bytes: number, private readonly share: ShareOfHeld) {
    this.#bytes = bytes;
  }

  /** How many. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Counts another number of bytes from now on: fewer free the rest, more are counted without waiting, as by `MemoryShare.count`. */
  resize(bytes: number): void {
    if (this.#released || bytes === this.#bytes) return;
    const difference = bytes - this.#bytes;
    this.#bytes = bytes;
    this.share.resize(difference);
  }

  /** Takes more bytes, where they are free and nobody waits: to wait for them, with these held, might never end. @returns whether it has */
  tryGrow(bytes: number): boolean {
    if (this.#released || !this.share.tryGrow(bytes)) return false;
    this.#bytes += bytes;
    return true;
  }

  /** Gives the bytes back; further calls do nothing. */
  release(): void {
    this.resize(0);
    this.#released = true;
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

interface ShareOfHeld {
  readonly resize: (difference: number) => void;
  readonly tryGrow: (bytes: number) => boolean;
}

interface Waiting {
  readonly bytes: number;
  readonly granted: () => void;
}
