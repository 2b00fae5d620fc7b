import type { ChangeSource } from "../mapping/change_sources.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { Lsn } from "../replication/lsn.ts";
import type { ToSee } from "../documents/source_clock.ts";
import { joinKey, type RootKey } from "../documents/root_keys.ts";

/** What a link value costs in memory besides its characters: the string, its place in the set. */
const BYTES_A_VALUE = 80;
/** What the id of a transaction costs. */
const BYTES_A_TRANSACTION = 40;

/**
 * Row changes that are looked at together: the link values they touched, each once. It may end in the middle of a
 * transaction (all of it has committed, for the server sends nothing before); only the position waits for the end.
 */
export class ChangeBatch implements ToSee {
  /** Link values of each change source, joined as root keys are. */
  readonly values = new Map<ChangeSource, Set<RootKey>>();
  /** Documents whose every root must be read again. */
  readonly reconcile = new Set<MappedDocument>();
  /** 32-bit ids of the transactions whose changes are in the batch. */
  readonly transactions = new Set<number>();
  /** The last commit record of those transactions, and perhaps of some that touch no document; 0 where there are none. */
  commitLsn: Lsn = 0n;
  /** Something was seen in the primary's catalog of which the stream tells nothing. */
  present = false;
  /** Row changes received, those that touch no document included. */
  changes = 0;
  /** About how much memory the batch takes. */
  bytes = 0;
  /** All changes up to this position are in this batch or in earlier ones; null where no transaction ended in it. */
  position: Lsn | null = null;
  /** Commit time of the oldest transaction in it, in milliseconds since 1970. */
  oldestCommit: number | null = null;

  /** Marks a link value of a row. */
  add(source: ChangeSource, values: readonly string[], transaction: number): void {
    let known = this.values.get(source);
    if (known === undefined) {
      known = new Set();
      this.values.set(source, known);
    }
    const key = joinKey(values);
    const before = known.size;
    known.add(key);
    if (known.size > before) this.bytes += BYTES_A_VALUE + key.length;
    this.#from(transaction);
  }

  /** Marks all roots of a document. @param transaction null where no transaction of the stream is the reason */
  addAll(document: MappedDocument, transaction: number | null): void {
    this.reconcile.add(document);
    if (transaction === null) this.present = true;
    else this.#from(transaction);
  }

  /** The same rows changed again and again add no values, yet each transaction has to be waited for. */
  #from(transaction: number): void {
    const before = this.transactions.size;
    this.transactions.add(transaction);
    if (this.transactions.size > before) this.bytes += BYTES_A_TRANSACTION;
  }

  /** Whether there is anything to look up or build. */
  get hasWork(): boolean {
    return this.values.size > 0 || this.reconcile.size > 0;
  }

  /** Whether the batch means anything at all. */
  get isEmpty(): boolean {
    return !this.hasWork && this.position === null;
  }
}
