import type { KnownCommit } from "../checkpoint/types.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { RootKey } from "../documents/root_keys.ts";
import type { Held, MemoryShare } from "../memory/share.ts";
import type { Lsn } from "../replication/lsn.ts";
import type { BatchProcessor } from "./batch_processor.ts";
import { ChangeBatch } from "./change_batch.ts";
import type { SyncObserver } from "../status/status.ts";

/** Batches that are looked up, built and sent at once. The versions of documents keep them in order. */
const BATCHES_AT_ONCE = 2;
/** Those under way, and the one that collects. */
const BATCHES_IN_MEMORY = BATCHES_AT_ONCE + 1;
/** The sets of a batch double when they are full, so one more change may double the batch. */
const GROWTH = 2;
/** Batches whose positions may wait for an earlier one (a large fan-out) before no more are begun. */
const MOST_WAITING_POSITIONS = 1_000;

/** What a pipeline works with. */
export interface ChangePipelineOptions {
  readonly processor: Pick<BatchProcessor, "process">;
  /** Counts what the batches take. */
  readonly memory: Pick<MemoryShare, "count">;
  /** Bytes that all batches together may take: with its part of them the one that collects holds the stream back. */
  readonly batchBytes: number;
  /** Holds the stream back, or lets it go on. */
  readonly holdBack: (paused: boolean) => void;
  /**
   * All changes before the position are acknowledged. Called with growing positions, and the last transaction that has ended since the one before;
   * null where none has.
   */
  readonly onPosition: (position: Lsn, lastCommit: KnownCommit | null) => void;
  /** A batch failed for good: nothing goes on. */
  readonly onFailure: (error: unknown) => void;
  readonly observe: SyncObserver;
  readonly signal: AbortSignal;
}

/** What is kept of a batch that was begun, until all before it are done too. */
interface UnderWay {
  readonly position: Lsn | null;
  readonly lastCommit: KnownCommit | null;
  /** The batch, where it has documents compared; null when it is done. */
  comparing: ChangeBatch | null;
  done: boolean;
}

/**
 * Between the stream and the processor: collects changes into a batch while others are under way, so that batches form
 * by themselves — at once when idle, larger when busy — and moves the position when all before it is acknowledged.
 */
export class ChangePipeline {
  #collecting = new ChangeBatch();
  /** What the collecting batch takes. */
  #held: Held;
  readonly #underWay: UnderWay[] = [];
  #pumpScheduled = false;
  #heldBack = false;
  #failed = false;
  #draining = false;
  #onIdle: () => void = () => {};

  constructor(private readonly options: ChangePipelineOptions) {
    this.#held = options.memory.count(0);
  }

  /** The batch that takes the changes that arrive now. */
  get collecting(): ChangeBatch {
    return this.#collecting;
  }

  /** Nothing is collected and nothing under way. */
  get isIdle(): boolean {
    return this.#collecting.isEmpty && this.#underWay.length === 0;
  }

  /**
   * Takes leave of the stream, which stays held back from now on. Resolves when what was collected and what is under way
   * is done.
   */
  async drain(): Promise<void> {
    this.#draining = true;
    this.options.holdBack(true);
    if (this.isIdle) return;
    await new Promise<void>((resolve) => this.#onIdle = resolve);
  }

  /** Gives back the memory of what was not begun. To be called when nothing is taken any more. */
  close(): void {
    this.#held.release();
  }

  /** With more bytes the collecting batch holds the stream back. */
  get #mostCollected(): number {
    return this.options.batchBytes / BATCHES_IN_MEMORY / GROWTH;
  }

  /** To be called after changes or a position were put into `collecting`; the batch starts once the caller is done. */
  changed(): void {
    const { bytes } = this.#collecting;
    this.#held.resize(bytes);
    if (bytes > this.#mostCollected && !this.#heldBack) {
      this.#heldBack = true;
      this.options.holdBack(true);
    }
    if (this.#pumpScheduled) return;
    this.#pumpScheduled = true;
    // After all messages that have arrived together.
    setImmediate(() => {
      this.#pumpScheduled = false;
      this.#pump();
    });
  }

  /** Has every root of a document read again, and documents without a row removed. @param whenDone told when all is acknowledged */
  reconcile(document: MappedDocument, whenDone: () => void): void {
    this.#collecting.addAll(document, null);
    this.#collecting.whenDone.push(whenDone);
    this.changed();
  }

  /** Has documents written again. @param whenDone told when all of them are acknowledged */
  rewrite(document: MappedDocument, keys: readonly RootKey[], whenDone: () => void): void {
    this.#collecting.addKeys(document, keys);
    this.#collecting.whenDone.push(whenDone);
    this.changed();
  }

  #pump(): void {
    const batch = this.#collecting;
    if (this.isIdle) this.#onIdle();
    if (this.#failed || this.options.signal.aborted || batch.isEmpty) return;
    if (!batch.hasWork) {
      // A position alone waits for the batches before it, and goes with the changes that arrive meanwhile.
      if (this.#underWay.length > 0) return;
    } else if (this.#isBusy(batch)) {
      this.#goAhead(batch);
      return;
    }
    this.#held.resize(batch.bytes);
    const held = this.#held;
    this.#collecting = new ChangeBatch();
    this.#held = this.options.memory.count(0);
    this.#letGoOn();
    if (batch.hasWork) this.#begin(batch, held);
    else {
      held.release();
      if (batch.position !== null) this.options.onPosition(batch.position, batch.lastCommit);
    }
    if (this.isIdle) this.#onIdle();
  }

  /**
   * Begins what can be looked up while a comparison is under way and another one waits for its end, so that a busy table
   * below a view does not hold up the changes of all others.
   */
  #goAhead(batch: ChangeBatch): void {
    if (batch.reconcile.size === 0 || batch.values.size === 0) return;
    const running = this.#running();
    if (running.length >= BATCHES_AT_ONCE || !running.some((entry) => entry.comparing !== null)) return;
    if (this.#underWay.length >= MOST_WAITING_POSITIONS) return;
    const linked = batch.splitLinked();
    this.#held.resize(batch.bytes);
    this.#begin(linked, this.options.memory.count(linked.bytes));
    // What stays may still be too much: until the look-up is done, all its transactions do.
    this.#letGoOn();
  }

  #begin(batch: ChangeBatch, held: Held): void {
    // A document built without what a comparison waits to see could reach the index after that has looked at it.
    for (const { comparing } of this.#running()) if (comparing !== null) batch.awaits(comparing);
    held.resize(batch.bytes);
    const comparing = batch.reconcile.size > 0 ? batch : null;
    const { position, lastCommit } = batch;
    const entry: UnderWay = { position, lastCommit, comparing, done: false };
    this.#underWay.push(entry);
    void this.#process(batch, entry, held);
  }

  #running(): UnderWay[] {
    return this.#underWay.filter((entry) => !entry.done);
  }

  #letGoOn(): void {
    if (!this.#heldBack || this.#collecting.bytes > this.#mostCollected) return;
    this.#heldBack = false;
    if (!this.#draining) this.options.holdBack(false);
  }

  /**
   * Whether the batch has to wait. One that compares an index with its table begins alone: a document that an earlier batch
   * has built and not yet written would not be in the index when it is listed.
   */
  #isBusy(batch: ChangeBatch): boolean {
    return this.#underWay.length >= MOST_WAITING_POSITIONS ||
      this.#running().length >= (batch.reconcile.size > 0 ? 1 : BATCHES_AT_ONCE);
  }

  async #process(batch: ChangeBatch, entry: UnderWay, held: Held): Promise<void> {
    const { processor, signal, observe, onFailure } = this.options;
    try {
      const times = await processor.process(batch, signal);
      entry.done = true;
      entry.comparing = null;
      held.release();
      this.#collecting.hasBeenSeenBy(batch);
      this.#held.resize(this.#collecting.bytes);
      this.#letGoOn();
      for (const tell of batch.whenDone) tell();
      const waited = batch.oldestCommit === null ? null : Math.max(0, Date.now() - batch.oldestCommit) / 1000;
      // Without a position there is nothing to wait with.
      if (entry.position === null) this.#underWay.splice(this.#underWay.indexOf(entry), 1);
      this.#advance();
      if (batch.position !== null) {
        const { position, changes } = batch;
        observe({ type: "batch", changes, position, commitToAcknowledgedSeconds: waited, ...times });
      }
      this.#pump();
    } catch (thrown) {
      held.release();
      if (this.#failed) return;
      this.#failed = true;
      onFailure(thrown);
    }
  }

  /** Moves the position over all batches from the oldest on that are done. */
  #advance(): void {
    let position: Lsn | null = null;
    let lastCommit: KnownCommit | null = null;
    for (let first = this.#underWay[0]; first?.done === true; first = this.#underWay[0]) {
      this.#underWay.shift();
      position = first.position ?? position;
      lastCommit = first.lastCommit ?? lastCommit;
    }
    if (position !== null) this.options.onPosition(position, lastCommit);
  }
}
