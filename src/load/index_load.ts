import type { Relation } from "../catalog/types.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { LoadChunk } from "../checkpoint/types.ts";
import type { OnFault } from "../retry/patience.ts";
import type { SearchClient } from "../search/client.ts";
import { countDocuments, setLoaded } from "../search/index.ts";
import { pauseRefresh, refresh, restoreRefresh } from "../search/refresh.ts";
import type { Lsn } from "../replication/lsn.ts";
import { extraRoots } from "../changes/own_remains.ts";
import type { OpenIndex } from "../documents/index_setup.ts";
import { loadChunks } from "./initial_load.ts";
import type { KeyedWriter } from "../documents/keyed_writer.ts";
import { keyBounds } from "../documents/key_bounds.ts";
import { keyChunks, pageChunks, storageFingerprint, wholeChunks } from "./load_chunks.ts";
import { keyIsUnique } from "../mapping/tree.ts";
import { NOTHING_TO_SEE, type SourceClock } from "../documents/source_clock.ts";
import type { SourceSession } from "../documents/source_session.ts";
import type { WorkMemory } from "../documents/work_memory.ts";
import type { LoadStatus, SyncObserver } from "../status/status.ts";

/** What the load of an index works with. */
export interface IndexLoadOptions {
  readonly open: OpenIndex;
  readonly keyed: KeyedWriter;
  readonly session: SourceSession;
  readonly clock: SourceClock;
  readonly search: SearchClient;
  readonly checkpoint: Checkpoint;
  readonly memory: WorkMemory;
  readonly workers: number;
  /** Roots in a chunk, about. */
  readonly chunkRows: number;
  /** Reads the root's description anew: its storage may have been rewritten. */
  readonly describeRoot: (signal: AbortSignal) => Promise<Relation>;
  /** Waits until another chunk may be begun. */
  readonly mayGoOn: (signal: AbortSignal) => Promise<void>;
  /** Waits until the load may be finished: as long as the slot may be ours. */
  readonly mayFinish: (signal: AbortSignal) => Promise<void>;
  readonly observe: SyncObserver;
  readonly onFault: OnFault;
}

/**
 * The initial load of one index: planned once, resumed after a restart, finished with a note in the checkpoint file, and, when the stream has passed
 * its end, with one in the index itself.
 */
export class IndexLoad {
  #state: LoadStatus["state"];
  #chunks = 0;
  #chunksDone = 0;
  #recorded = 0;
  #acknowledged = 0;
  #startedAt: Date | null = null;
  #finishedAt: Date | null = null;
  /** The stream must pass it before the index is equal; null until the load is finished. */
  endLsn: Lsn | null;

  constructor(private readonly options: IndexLoadOptions) {
    const { open, checkpoint, keyed } = options;
    this.#state = open.loaded ? "done" : "pending";
    keyed.index.isLoaded = open.loaded;
    const progress = checkpoint.load(keyed.index.index);
    this.endLsn = open.loaded ? progress?.endLsn ?? 0n : null;
    this.#count();
  }

  /** How far it is. */
  get status(): LoadStatus {
    return {
      state: this.#state,
      documents: this.#recorded + this.#acknowledged,
      estimate: this.options.keyed.index.mapped.root.relation.estimatedRows,
      chunksDone: this.#chunksDone,
      chunks: this.#chunks,
      startedAt: this.#startedAt,
      finishedAt: this.#finishedAt,
    };
  }

  /**
   * Loads what is not loaded yet. Returns at once where all is.
   *
   * @throws PgsyncError that is not temporary; the signal's reason
   */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#state === "done") return;
    const { open, keyed, session, clock, search, checkpoint, onFault, mayFinish } = this.options;
    const { index } = keyed.index;
    this.#startedAt = new Date();
    this.#state = "running";
    // What a view has lost meanwhile, by a change that does not tell which, the load may have written after that.
    let heldDocuments = keyed.index.mapped.root.relation.view !== undefined;
    await this.#patiently(async () => {
      await refresh(search, open.generation, signal);
      heldDocuments ||= await countDocuments(search, open.generation, signal) > 0;
      await pauseRefresh(search, open.generation, signal);
    }, signal);
    for (let root = await this.#plan(signal);;) {
      this.#tell();
      const progress = checkpoint.load(index);
      await loadChunks(progress?.chunks ?? [], {
        ...this.options,
        onDocuments: (count) => this.#acknowledged += count,
        onChunk: () => {
          this.#count();
          this.#tell();
        },
      }, signal);
      // A rewrite during the load may have moved rows from a chunk not yet read into one that was.
      const now = await this.#describeRoot(signal);
      if (storageFingerprint(now) === storageFingerprint(root)) break;
      this.#planAnew(await this.#divide(now, signal));
      // A TRUNCATE, perhaps: documents that were on their way may have no row any more.
      heldDocuments = true;
      root = now;
    }
    if (heldDocuments) await this.#removeExtra(signal);
    const lsn = await session.untilDone(() => clock.position(), "tell its WAL position", onFault, signal);
    await this.#patiently(async () => {
      await restoreRefresh(search, open.generation, keyed.index.mapped.schema.setting, signal);
      await refresh(search, open.generation, signal);
    }, signal);
    await mayFinish(signal);
    checkpoint.finishLoad(index, lsn);
    this.endLsn = lsn;
    keyed.index.isLoaded = true;
    this.#state = "done";
    this.#finishedAt = new Date();
    this.#tell();
  }

  /**
   * Notes in the index that its load is finished, once the position has passed the end of the load: that proves that the slot was still ours
   * then. Another process that has replaced this one may be loading the index anew; it would leave out the rest at its next start.
   *
   * @param passed waits until everything before a position is stored
   * @throws PgsyncError that is not temporary; the signal's reason
   */
  async declare(
    passed: (lsn: Lsn, signal: AbortSignal) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const { open, session, clock, search, onFault } = this.options;
    if (open.loaded || this.endLsn === null) return;
    // Something must follow the end in the stream for the position to pass it at once.
    await session.untilDone(() => clock.writeSomething(), "write a logical message", onFault, signal);
    await passed(this.endLsn, signal);
    await this.#patiently(() => setLoaded(search, open.generation, true, signal), signal);
  }

  /** Finds the plan to go on with, or makes one. Returns the root table as the plan knows it. */
  async #plan(signal: AbortSignal): Promise<Relation> {
    const { checkpoint, keyed, open } = this.options;
    const root = await this.#describeRoot(signal);
    const progress = checkpoint.load(keyed.index.index);
    const fits = progress !== null && progress.generation === open.generation &&
      progress.chunks.every((chunk) =>
        chunk.heapOid === root.oid && chunk.filenode === storageFingerprint(root)
      );
    if (!fits) this.#planAnew(await this.#divide(root, signal));
    this.#count();
    return root;
  }

  #planAnew(chunks: readonly LoadChunk[]): void {
    const { checkpoint, keyed, open } = this.options;
    checkpoint.planLoad(keyed.index.index, open.generation, chunks);
    this.#acknowledged = 0;
    this.#count();
  }

  /** By pages where the server can read a range of them, else by keys. */
  async #divide(described: Relation, signal: AbortSignal): Promise<LoadChunk[]> {
    const { session, chunkRows, onFault, keyed } = this.options;
    const root = { ...described, primaryKey: keyed.index.mapped.root.relation.primaryKey };
    // Each part of a plain view would be made of its tables anew; and rows of one key must be seen together.
    if (root.kind === "view" || !keyIsUnique(root)) return wholeChunks(root);
    if (root.heaps.every((heap) => heap.tidRange)) return pageChunks(root, chunkRows);
    const bounds = await session.untilDone(
      () => keyBounds(session, root, chunkRows, signal),
      "divide a table",
      onFault,
      signal,
    );
    return keyChunks(root, bounds);
  }

  /** An index that held documents before may hold some whose rows were deleted while nobody listened. */
  async #removeExtra(signal: AbortSignal): Promise<void> {
    const { keyed, session, clock, onFault } = this.options;
    await session.untilDone(
      async () => {
        const moment = await clock.afterVisible(NOTHING_TO_SEE, signal);
        const extra = extraRoots(keyed.index, this.options, moment, signal);
        await keyed.write(extra, { moment, source: "load", position: null }, signal);
      },
      "compare the index with its table",
      onFault,
      signal,
    );
  }

  async #describeRoot(signal: AbortSignal): Promise<Relation> {
    const { session, clock, describeRoot, onFault } = this.options;
    const describe = async () => {
      // A rewrite that the chunks were not yet read behind would be known of here, and missed when they are.
      await clock.catchUp(signal);
      return await describeRoot(signal);
    };
    return await session.untilDone(describe, "read its catalog", onFault, signal);
  }

  /** Tries until the search engine does it. */
  async #patiently(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    await this.options.session.untilDone(work, "prepare the index", this.options.onFault, signal);
  }

  #count(): void {
    const chunks = this.options.checkpoint.load(this.options.keyed.index.index)?.chunks ?? [];
    this.#chunks = chunks.length;
    this.#chunksDone = chunks.filter((chunk) => chunk.done).length;
    this.#recorded = chunks.reduce((sum, chunk) => sum + chunk.documents, 0);
  }

  #tell(): void {
    this.options.observe({ type: "load", index: this.options.keyed.index.index, load: this.status });
  }
}
