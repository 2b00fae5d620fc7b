import { STALE_AFTER_MS } from "../search/bulk_writer.ts";

/**
 * How long a COPY is held back at a time. It has a lock on each table it reads: an ALTER TABLE waits behind it, and every
 * query of the application behind that. Any engine that is well answers within this time.
 */
const PATIENCE_MS = 10_000;
/**
 * How long a COPY is held back in all, from its beginning, by an engine that is merely slow. What it gives later than this is too old to be
 * sent, anyway.
 */
const LONGEST_MS = STALE_AFTER_MS;

/** A COPY was held back for so long that it has to be given up. */
export class HeldUpError extends Error {
  constructor() {
    super("the search engine has kept a COPY waiting for too long");
    this.name = "HeldUpError";
  }
}

/** What is done with the rows of one COPY, piece by piece, while the next are read. Made when the COPY begins. */
export class CopyWork {
  readonly #underWay = new Set<Promise<void>>();
  readonly #begun = Date.now();
  #failure: { readonly error: unknown } | null = null;

  /** @param most pieces under way at once */
  constructor(private readonly most: number) {}

  /** Begins to work on a piece. @throws what earlier work has failed with */
  begin(work: () => Promise<void>): void {
    this.throwFailure();
    const piece = work()
      .catch((error: unknown) => void (this.#failure ??= { error }))
      .finally(() => this.#underWay.delete(piece));
    this.#underWay.add(piece);
  }

  /**
   * Waits until another piece may begin. To be awaited while the COPY is held back.
   *
   * @throws HeldUpError where that takes too long: the COPY must end, whatever becomes of the work
   */
  async room(): Promise<void> {
    if (this.#underWay.size < this.most) return;
    await this.patiently(async (late) => {
      const { promise: heldUp, reject } = Promise.withResolvers<never>();
      late.addEventListener("abort", () => reject(late.reason), { once: true });
      while (this.#underWay.size >= this.most) await Promise.race([heldUp, ...this.#underWay]);
    });
  }

  /**
   * Waits for something else while the COPY is held back, for as long as for room.
   *
   * @param wait ends with the signal's reason when the signal is aborted
   * @throws HeldUpError; what `wait` throws
   */
  async patiently<T>(wait: (late: AbortSignal) => Promise<T>): Promise<T> {
    const left = this.#begun + LONGEST_MS - Date.now();
    const late = new AbortController();
    const timer = setTimeout(
      () => late.abort(new HeldUpError()),
      Math.max(0, Math.min(PATIENCE_MS, left)),
    );
    try {
      return await wait(late.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Waits until nothing is under way. To be awaited in any case, because work that goes on still counts. */
  async end(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  /** @throws what the work has failed with */
  throwFailure(): void {
    if (this.#failure !== null) throw this.#failure.error;
  }
}
