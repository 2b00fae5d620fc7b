import { getLogger } from "@logtape/logtape";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { openIndex } from "../documents/index_setup.ts";
import { IndexWriter } from "../documents/index_writer.ts";
import { KeyedWriter } from "../documents/keyed_writer.ts";
import { NOTHING_TO_SEE } from "../documents/source_clock.ts";
import { IndexLoad } from "../load/index_load.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import { BulkWriter } from "../search/bulk_writer.ts";
import type { SearchClient } from "../search/client.ts";
import type { Revivals } from "../search/revivals.ts";
import { orAborted } from "../retry/abort.ts";
import type { RequestOutcomes } from "../search/health.ts";
import type { Semaphore } from "../search/semaphore.ts";
import type { SyncObserver } from "../status/status.ts";
import type { IndexView, StatusBoard } from "../status/status_board.ts";
import type { DeadLetterLimit } from "./dead_letters/dead_letter_limit.ts";
import type { DatabaseState } from "./database_state.ts";
import type { RunOptions } from "./options.ts";
import type { RowSource } from "./source/row_source.ts";
import type { RunMemory } from "./run_memory.ts";
import type { SourceKeeper } from "./source/source_keeper.ts";

const logger = getLogger(["pgsync", "sync"]);

/** What the indices of one database are opened with. */
export interface IndexOpening {
  readonly run: RunOptions;
  readonly state: DatabaseState;
  readonly checkpoint: Checkpoint;
  readonly keeper: SourceKeeper;
  /** Documents that were made of something else when the position was stored: all of them are read again. */
  readonly changed: ReadonlySet<MappedDocument>;
  readonly search: SearchClient;
  readonly health: RequestOutcomes;
  /** Limits the bulk requests under way. */
  readonly requests: Semaphore;
  readonly memory: RunMemory;
  readonly board: StatusBoard;
  /** Whether an initial load may go on. */
  readonly limit: Pick<DeadLetterLimit, "allowsLoad">;
  /** Aborted when another process has taken the slot over. */
  readonly replaced: AbortSignal;
  readonly observe: SyncObserver;
}

/** One index that a run keeps equal: what loads it, and what writes it from then on. */
export class FollowedIndex {
  constructor(
    readonly load: IndexLoad,
    readonly keyed: KeyedWriter,
    readonly revivals: Revivals,
    private readonly checkpoint: Checkpoint,
  ) {}

  get mapped(): MappedDocument {
    return this.keyed.index.mapped;
  }

  get isLoaded(): boolean {
    return this.load.status.state === "done";
  }

  /** What is told of it. */
  get view(): IndexView {
    const { index, generation, indexed, deleted } = this.keyed.index;
    const deadLetters = this.checkpoint.deadLetterCount(index);
    const { status: load, endLsn: equalFrom } = this.load;
    return { index, generation, indexed, deleted, deadLetters, load, equalFrom };
  }

  /** To be called when nothing is written any more. @param replaced another process has taken the slot over, so that what was not finished does not come again */
  close(replaced: boolean): void {
    this.keyed.index.close();
    const count = replaced ? this.revivals.possible : this.revivals.made;
    if (count === 0) return;
    logger.warn(
      "{count} documents of index {index} may have been brought back after their deletion, and could not be built again before the end: " +
        "run `pgsync verify --repair`",
      { count, index: this.keyed.index.index },
    );
  }
}

/**
 * Waits until none of the documents that a process has sent, which was frozen and woke up, may have been brought back by that: whoever was replaced has
 * to see to it itself, for the other one knows nothing of them. Returns at the signal, too.
 */
export async function untilNoneRevived(
  indices: readonly FollowedIndex[],
  signal: AbortSignal,
): Promise<void> {
  await Promise.allSettled(indices.map(({ revivals }) => revivals.none(signal)));
}

/**
 * Finds or makes the indices of a database, and what loads and writes each.
 *
 * @param working holds as long as the run
 * @param ending cuts the opening short
 * @throws PgsyncError as `openIndex`; a signal's reason
 */
export async function openIndices(
  opening: IndexOpening,
  source: RowSource,
  working: AbortSignal,
  ending: AbortSignal,
): Promise<FollowedIndex[]> {
  const opened: FollowedIndex[] = [];
  for (const mapped of opening.state.mapping.documents) {
    opened.push(await openOne(opening, source, mapped, working, ending));
  }
  working.throwIfAborted();
  return opened;
}

async function openOne(
  opening: IndexOpening,
  source: RowSource,
  mapped: MappedDocument,
  working: AbortSignal,
  ending: AbortSignal,
): Promise<FollowedIndex> {
  const {
    run,
    state,
    keeper,
    changed,
    search,
    checkpoint,
    requests,
    health,
    board,
    limit,
    replaced,
    observe,
  } = opening;
  const memory = opening.memory.work;
  const { session, clock, onFault } = source;
  const { index } = mapped.schema;
  // Chunks that were loaded before the tables changed are no better than none.
  if (changed.has(mapped) && checkpoint.load(index)?.finished === false) checkpoint.forgetLoad(index);
  const open = await openIndex(
    search,
    mapped,
    state.mapping.catalog.server.systemIdentifier,
    checkpoint,
    run.bootstrap,
    keeper.keptKey(mapped, state.tables),
    ending,
  );
  const bulk = new BulkWriter({
    client: search,
    generation: open.generation,
    semaphore: requests,
    copies: memory.copies,
    health,
    onRetry: (error) => board.retry(error),
  });
  const writer = new IndexWriter({
    mapped,
    generation: open.generation,
    client: search,
    bulk,
    checkpoint,
    newestVersion: () => clock.newestVersion(),
    observe,
  });
  const freshMoment = () => clock.afterVisible(NOTHING_TO_SEE, working);
  const keyed = new KeyedWriter(writer, session, memory, run.bulkConcurrency, freshMoment, onFault);
  const load = new IndexLoad({
    open,
    keyed,
    session,
    clock,
    search,
    checkpoint,
    memory,
    workers: run.loadWorkers,
    chunkRows: run.loadChunkRows,
    describeRoot: (signal) => source.describe(mapped.root.relation, signal),
    mayGoOn: async (signal) => {
      await unlessReplaced(replaced, signal);
      await limit.allowsLoad(signal);
    },
    mayFinish: (signal) => unlessReplaced(replaced, signal),
    observe,
    onFault,
  });
  return new FollowedIndex(load, keyed, bulk.revivals, checkpoint);
}

/** Whoever was replaced waits for its end. @throws the signal's reason */
async function unlessReplaced(replaced: AbortSignal, signal: AbortSignal): Promise<void> {
  if (replaced.aborted) await orAborted(new Promise<never>(() => {}), signal);
}
