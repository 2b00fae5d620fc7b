import type { KnownCommit } from "../checkpoint/types.ts";
import type { Lsn } from "../replication/lsn.ts";
import type { Begin } from "../replication/pgoutput_types.ts";

/**
 * Where a session of the stream has to go on. Each begins with the last transaction that we know, unless the slot is confirmed beyond it, and that
 * is the proof that the server still has the history that was taken: one that was restored to an older state, and has written beyond the
 * position since, cannot send it.
 */
export class ResumePoint {
  #known: KnownCommit | null = null;
  /** The server has to send it before anything newer. */
  #isAwaited = false;

  constructor(
    /** The last transaction before the durable position; null: not known. */
    private readonly lastCommit: () => KnownCommit | null,
    /** The server does not hold it. @returns the error that ends the session */
    private readonly onAbsent: (commit: KnownCommit) => Error,
  ) {}

  /** A session begins. @param confirmed how far its slot was confirmed by then; null: not known */
  onConnect(confirmed: Lsn | null): void {
    this.#known = this.lastCommit();
    // The server sends what was committed at the confirmed position or behind it, by where the commit record begins.
    this.#isAwaited = this.#known !== null && confirmed !== null && confirmed <= this.#known.lsn;
  }

  /**
   * Whether a transaction is in the index already.
   *
   * @throws what `onAbsent` returns where it stands in place of the one that is awaited, or behind it
   */
  isTaken({ finalLsn, xid, commitTimeMs }: Pick<Begin, "finalLsn" | "xid" | "commitTimeMs">): boolean {
    const known = this.#known;
    if (known === null || finalLsn > known.lsn) {
      this.passed(finalLsn);
      return false;
    }
    if (finalLsn < known.lsn) return true;
    if (xid !== known.xid || commitTimeMs !== known.timeMs) throw this.onAbsent(known);
    this.#isAwaited = false;
    return true;
  }

  /** Everything before `lsn` was sent. @throws what `onAbsent` returns where the transaction that is awaited was not among it */
  passed(lsn: Lsn): void {
    if (this.#isAwaited && this.#known !== null && lsn > this.#known.lsn) throw this.onAbsent(this.#known);
  }
}
