import type { KnownCommit } from "../checkpoint/types.ts";
import type { ChangeSource } from "../mapping/change_sources.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { Lsn } from "../replication/lsn.ts";
import { KeySet } from "../documents/key_set.ts";
import { joinKey, type RootKey } from "../documents/root_keys.ts";
import type { ToSee } from "../documents/source_clock.ts";

/** About what the id of a transaction costs. */
const BYTES_A_TRANSACTION = 40;

/**
 * Row changes that are looked at together: the link values they touched, each once. It may end in the middle of a
 * transaction (all of it has committed, for the server sends nothing before); only the position waits for the end.
 */
export class ChangeBatch implements ToSee {
  /** Link values of each change source, joined as root keys are. */
  readonly values = new Map<ChangeSource, KeySet>();
  /** Root keys of documents that somebody wants written again. */
  readonly keys = new Map<MappedDocument, KeySet>();
  /** Documents whose every root must be read again. */
  readonly reconcile = new Set<MappedDocument>();
  /** To be called when all documents of the batch are acknowledged. */
  readonly whenDone: (() => void)[] = [];
  /** 32-bit ids of the transactions whose changes are in the batch. */
  readonly transactions = new Set<number>();
  /** The last commit record of those transactions, and perhaps of some that touch no document; 0 where there are none. */
  commitLsn: Lsn = 0n;
  /** Something was seen in the primary's catalog of which the stream tells nothing. */
  present = false;
  /** Row changes received, those that touch no document included. */
  changes = 0;
  /** How much memory the batch takes. */
  bytes = 0;
  /** All changes up to this position are in this batch or in earlier ones; null where no transaction ended in it. */
  position: Lsn | null = null;
  /** The last transaction that has ended in it; null where none has. */
  lastCommit: KnownCommit | null = null;
  /** Commit time of the oldest transaction in it, in milliseconds since 1970. */
  oldestCommit: number | null = null;

  /** Marks a link value of a row. */
  add(source: ChangeSource, values: readonly string[], transaction: number): void {
    let known = this.values.get(source);
    if (known === undefined) {
      known = new KeySet();
      this.values.set(source, known);
      this.bytes += known.bytes;
    }
    const before = known.bytes;
    known.add(joinKey(values));
    this.bytes += known.bytes - before;
    this.#from(transaction);
  }

  /** Marks documents by their root keys. What the primary shows now is what they are to be made of. */
  addKeys(document: MappedDocument, keys: readonly RootKey[]): void {
    const known = this.keys.get(document) ?? new KeySet();
    const before = this.keys.has(document) ? known.bytes : 0;
    this.keys.set(document, known);
    for (const key of keys) known.add(key);
    this.bytes += known.bytes - before;
    this.present = true;
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

  /**
   * Takes the link values out, to go ahead of what has all documents compared. The position stays here: it may not move before both
   * are done.
   */
  splitLinked(): ChangeBatch {
    const linked = new ChangeBatch();
    // Keys stay, for those who wait for them are told when this batch is done.
    for (const [source, values] of this.values) {
      linked.values.set(source, values);
      linked.bytes += values.bytes;
      this.bytes -= values.bytes;
    }
    this.values.clear();
    linked.awaits(this);
    return linked;
  }

  /** What another batch waits to see, this one waits for as well. */
  awaits(other: ChangeBatch): void {
    for (const transaction of other.transactions) this.#from(transaction);
    if (other.commitLsn > this.commitLsn) this.commitLsn = other.commitLsn;
    if (other.present) this.present = true;
  }

  /** What another batch has seen need not be waited for any more: its transactions, which would add up while this one waits, are forgotten. */
  hasBeenSeenBy(other: ChangeBatch): void {
    if (this.transactions.size === 0) return;
    for (const transaction of other.transactions) {
      if (this.transactions.delete(transaction)) this.bytes -= BYTES_A_TRANSACTION;
    }
  }

  /** Whether there is anything to look up or build. */
  get hasWork(): boolean {
    return this.values.size > 0 || this.keys.size > 0 || this.reconcile.size > 0;
  }

  /** Whether the batch means anything at all. */
  get isEmpty(): boolean {
    return !this.hasWork && this.position === null;
  }
}
