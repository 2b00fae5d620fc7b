import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { KnownCommit } from "../checkpoint/types.ts";
import { reached } from "../fault_points.ts";
import type { Lsn } from "../replication/lsn.ts";

/** Positions that come close together are stored as one: to repeat a little after a crash is cheaper than a disk flush each. */
const STORE_EVERY_MS = 100;

/**
 * Stores the position, then confirms it to the server, in this order: so the slot is never confirmed beyond what the
 * checkpoint file holds, and a breach of that at start means an older copy of the file, or a stranger on the slot.
 */
export class PositionKeeper {
  #acknowledged: Lsn;
  #stored: Lsn;
  /** The last transaction before the acknowledged position, until that is stored. */
  #lastCommit: KnownCommit | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #storedAt = 0;
  #closed = false;
  readonly #waiting = new Set<{ isReached: () => boolean; resolve: () => void }>();

  constructor(
    private readonly checkpoint: Checkpoint,
    /** Tells the server; called after the position is durable. */
    private readonly confirm: (position: Lsn) => void,
    /** The position cannot be stored. */
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.#stored = checkpoint.position() ?? 0n;
    this.#acknowledged = this.#stored;
  }

  /** Everything before it is acknowledged and stored. */
  get stored(): Lsn {
    return this.#stored;
  }

  /** The last transaction before the stored position; null where none is known. */
  get lastCommit(): KnownCommit | null {
    return this.checkpoint.lastCommit();
  }

  /**
   * Everything before `position` is acknowledged by the search engine.
   *
   * @param lastCommit the last transaction before it, where one has ended since the position before
   */
  advance(position: Lsn, lastCommit: KnownCommit | null): void {
    if (position <= this.#acknowledged || this.#closed) return;
    this.#acknowledged = position;
    this.#lastCommit = lastCommit ?? this.#lastCommit;
    if (this.#timer !== null) return;
    const wait = Math.max(0, this.#storedAt + STORE_EVERY_MS - performance.now());
    this.#timer = setTimeout(() => this.flush(), wait);
  }

  /** Stores at once how far it has come. */
  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#acknowledged <= this.#stored) return;
    reached("before-checkpoint");
    try {
      this.#stored = this.checkpoint.savePosition(this.#acknowledged, this.#lastCommit);
      this.#lastCommit = null;
    } catch (thrown) {
      this.onFailure(thrown);
      return;
    }
    this.#storedAt = performance.now();
    reached("before-confirm");
    this.confirm(this.#stored);
    for (const waiter of this.#waiting) {
      if (!waiter.isReached()) continue;
      this.#waiting.delete(waiter);
      waiter.resolve();
    }
  }

  /** Waits until everything before `target` is stored. @throws the signal's reason */
  async waitFor(target: Lsn, signal: AbortSignal): Promise<void> {
    await this.#until(() => this.#stored >= target, signal);
  }

  /** Waits until a transaction that was committed after `target` is the last one before the stored position. @throws the signal's reason */
  async waitForCommit(target: Lsn, signal: AbortSignal): Promise<void> {
    await this.#until(() => (this.lastCommit?.lsn ?? 0n) >= target, signal);
  }

  async #until(isReached: () => boolean, signal: AbortSignal): Promise<void> {
    if (isReached()) return;
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { isReached, resolve };
    const onAbort = () => reject(signal.reason);
    this.#waiting.add(waiter);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await promise;
    } finally {
      this.#waiting.delete(waiter);
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** No further writes, whatever is reached: the file may be another life's from now on. */
  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
