import { getLogger } from "@logtape/logtape";
import { readCatalog } from "../catalog/read.ts";
import type { Relation } from "../catalog/types.ts";
import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { PgsyncError, toPgsyncError } from "../errors/error.ts";
import { connectPostgres, type Sql } from "../postgres/connect.ts";
import { followSlot, type SlotFollower } from "../replication/follow.ts";
import { formatLsn, type Lsn } from "../replication/lsn.ts";
import { inspectSlot } from "../replication/slot.ts";
import { delayOrAbort } from "../retry/backoff.ts";
import { BulkWriter } from "../search/bulk_writer.ts";
import type { SearchClient } from "../search/client.ts";
import type { SearchHealth } from "../search/health.ts";
import type { Semaphore } from "../search/semaphore.ts";
import { BatchProcessor } from "../changes/batch_processor.ts";
import { ChangeCollector } from "../changes/change_collector.ts";
import { BATCHES_IN_MEMORY, ChangePipeline } from "../changes/change_pipeline.ts";
import type { DatabaseState } from "./database_setup.ts";
import { IndexLoad } from "../load/index_load.ts";
import { openIndex } from "../documents/index_setup.ts";
import { IndexWriter } from "../documents/index_writer.ts";
import { KeyedWriter } from "../documents/keyed_writer.ts";
import type { RunOptions } from "./options.ts";
import { PositionKeeper } from "../changes/position_keeper.ts";
import { ServerClock } from "../documents/server_clock.ts";
import { NOTHING_TO_SEE, type SourceClock } from "../documents/source_clock.ts";
import { SourceSession } from "../documents/source_session.ts";
import { StandbyClock } from "../documents/standby_clock.ts";
import { SourceWatch } from "./source_watch.ts";
import type { SyncObserver } from "../status/status.ts";
import type { StatusBoard } from "../status/status_board.ts";
import { StreamConsumer } from "../changes/stream_consumer.ts";

const logger = getLogger(["pgsync", "sync"]);

/** How long a stop may wait for batches under way. */
const FLUSH_LIMIT_MS = 5_000;
/** How often the slot is looked at, for lag and WAL budget. */
const SLOT_LOOK_MS = 5_000;
/** How often a replica is looked at, in case nothing else is asked of it. */
const REPLICA_LOOK_MS = 2_000;

/** What follows one database. */
export interface DatabaseSyncOptions {
  readonly run: RunOptions;
  readonly state: DatabaseState;
  readonly admin: Sql;
  readonly checkpoint: Checkpoint;
  readonly search: SearchClient;
  readonly health: SearchHealth;
  /** Limits the bulk requests under way. */
  readonly requests: Semaphore;
  readonly board: StatusBoard;
  readonly observe: SyncObserver;
}

/** Loads the indices of one database and follows its slot: the parts, joined. */
export class DatabaseSync {
  readonly #failure = new AbortController();
  readonly #session: SourceSession;
  readonly #clock: SourceClock;
  /** Where the storage of tables is described: where their rows are read. */
  readonly #catalog: Sql;
  #received: Lsn = 0n;

  constructor(private readonly options: DatabaseSyncOptions) {
    const { run, state } = options;
    const sessions = { lookups: 4, builders: run.bulkConcurrency + 1, loaders: run.loadWorkers };
    const { database } = state;
    if (run.postgresReplica === null) {
      this.#session = new SourceSession(run.postgres, database, sessions);
      this.#clock = new ServerClock(this.#session);
      this.#catalog = options.admin;
      return;
    }
    const { systemIdentifier } = state.mapping.catalog.server;
    const replica = { options: run.postgresReplica, systemIdentifier };
    const session = new SourceSession(run.postgres, database, sessions, replica);
    const clock = new StandbyClock(session, replica, (fault) => options.board.retry("postgresql", fault));
    this.#session = session;
    this.#clock = clock;
    this.#catalog = connectPostgres(replica.options, {
      database,
      purpose: "describe",
      max: 1,
      kind: "admin",
    });
    options.board.replica = () => clock.problem;
  }

  /**
   * Loads and catches up; with `daemon` it goes on until the signal, then lets batches under way finish.
   *
   * @throws PgsyncError
   */
  async run(control: { readonly signal: AbortSignal; readonly daemon: boolean }): Promise<void> {
    const { board, checkpoint } = this.options;
    const working = this.#failure.signal;
    const ending = AbortSignal.any([control.signal, working]);
    const leaving = new AbortController();
    let follower: SlotFollower | null = null;
    try {
      const loads = await this.#openIndices(working, ending);
      const keyed = loads.map((load) => load.keyed);
      void this.#watchReplica(AbortSignal.any([working, leaving.signal]));
      await this.#untilDone(() => this.#clock.takeOver(ending), "tell how far it is", ending);

      const keeper = new PositionKeeper(
        checkpoint,
        (position) => follower?.confirm(position),
        (error) => this.#fail(error),
      );
      const processor = new BatchProcessor(
        this.#session,
        this.#clock,
        this.options.search,
        keyed,
        (fault) => board.retry("postgresql", fault),
      );
      const pipeline = new ChangePipeline({
        processor,
        waitingBytes: this.options.run.bufferBytes / BATCHES_IN_MEMORY,
        holdBack: (paused) => paused ? follower?.pause() : follower?.resume(),
        onPosition: (position) => keeper.reached(position),
        onFailure: (error) => this.#fail(error),
        observe: this.options.observe,
        signal: working,
      });
      const collector = new ChangeCollector(this.options.state.mapping.sources);
      const consumer = new StreamConsumer(collector, pipeline, this.options.observe);
      follower = this.#follow(consumer, keeper, leaving.signal);
      follower.done.catch((error) => this.#fail(error));
      this.#show(loads.map((entry) => entry.load), keyed, follower, keeper, consumer);
      // Never awaited: a look that PostgreSQL does not answer ends when its session is closed.
      void this.#watchSlot(
        this.#sourceWatch(pipeline, loads.map((entry) => entry.load)),
        AbortSignal.any([working, leaving.signal]),
      );

      try {
        await this.#work(loads.map((entry) => entry.load), keeper, ending, control.daemon);
      } catch (thrown) {
        if (!control.signal.aborted || working.aborted) throw thrown;
      }
      // Stopping: take nothing more, let what is under way finish, store the position, take leave.
      board.phase = "stopping";
      await this.#settle(pipeline, working);
      keeper.flush();
      keeper.close();
      leaving.abort();
      await follower.done;
      working.throwIfAborted();
      board.phase = "stopped";
    } catch (thrown) {
      const error = toPgsyncError(this.#failure.signal.aborted ? this.#failure.signal.reason : thrown);
      this.#fail(error);
      if (control.signal.aborted && !(thrown instanceof PgsyncError)) return;
      board.halt(error);
      throw error;
    } finally {
      this.#fail(new PgsyncError("INTERNAL", "The run is over."));
      leaving.abort();
      // Its own error, if any, has been told; what counts here is that the slot is free.
      await follower?.done.catch((error: unknown) =>
        logger.debug("the stream ended with {error}", { error })
      );
      await this.#session[Symbol.asyncDispose]();
      if (this.#catalog !== this.options.admin) await this.#catalog.end({ timeout: 0 });
    }
  }

  /** Loads, catches up, and streams until the end comes. */
  async #work(
    loads: readonly IndexLoad[],
    keeper: PositionKeeper,
    ending: AbortSignal,
    daemon: boolean,
  ): Promise<void> {
    const { board } = this.options;
    board.phase = loads.every((load) => load.status.state === "done") ? "catching-up" : "loading";
    await Promise.all(loads.map((load) => load.run(ending)));
    board.phase = "catching-up";
    const lsn = await this.#untilDone(() => this.#clock.position(), "tell its WAL position", ending);
    const target = loads.reduce(
      (latest, load) => load.endLsn !== null && load.endLsn > latest ? load.endLsn : latest,
      lsn,
    );
    // Something must follow the target in the stream for the position to pass it at once.
    await this.#untilDone(() => this.#clock.writeSomething(), "write a logical message", ending);
    await keeper.waitFor(target, ending);
    board.phase = "streaming";
    if (!daemon) return;
    await new Promise<never>((_, reject) => {
      if (ending.aborted) reject(ending.reason);
      ending.addEventListener("abort", () => reject(ending.reason), { once: true });
    });
  }

  async #openIndices(
    working: AbortSignal,
    ending: AbortSignal,
  ): Promise<{ readonly load: IndexLoad; readonly keyed: KeyedWriter }[]> {
    const { run, state, search, checkpoint, requests, health, board, observe } = this.options;
    const { systemIdentifier } = state.mapping.catalog.server;
    const limits = { bulkBytes: run.bulkBytes, bulkDocuments: run.bulkDocuments };
    const onFault = (fault: PgsyncError) => board.retry("postgresql", fault);
    const opened = [];
    for (const mapped of state.mapping.documents) {
      const open = await openIndex(search, mapped, systemIdentifier, checkpoint, run.bootstrap, ending);
      const bulk = new BulkWriter({
        client: search,
        generation: open.generation,
        semaphore: requests,
        health,
        onRetry: (error) => board.retry("search", error),
      });
      const index = new IndexWriter({
        mapped,
        generation: open.generation,
        client: search,
        bulk,
        checkpoint,
        newestVersion: () => this.#clock.newestVersion(),
        observe,
      });
      const freshMoment = () => this.#clock.afterVisible(NOTHING_TO_SEE, working);
      const keyed = new KeyedWriter(index, this.#session, limits, run.bulkConcurrency, freshMoment, onFault);
      const load = new IndexLoad({
        open,
        keyed,
        session: this.#session,
        clock: this.#clock,
        search,
        checkpoint,
        limits,
        workers: run.loadWorkers,
        chunkRows: run.loadChunkRows,
        describeRoot: () => this.#describe(mapped.root.relation),
        observe,
        onFault,
      });
      opened.push({ load, keyed });
    }
    working.throwIfAborted();
    return opened;
  }

  #follow(consumer: StreamConsumer, keeper: PositionKeeper, signal: AbortSignal): SlotFollower {
    const { run, state, board } = this.options;
    return followSlot({
      options: run.postgres,
      database: state.database,
      slot: state.slotName,
      publication: state.slotName,
      startFrom: () => keeper.stored,
      onConnect: () => consumer.onConnect(),
      onMessage: (message, place) => {
        if (place.walEnd > this.#received) this.#received = place.walEnd;
        consumer.onMessage(message);
      },
      onKeepalive: (walEnd) => {
        if (walEnd > this.#received) this.#received = walEnd;
        consumer.onKeepalive(walEnd);
      },
      onFault: (fault) => board.retry("replication", fault),
      signal,
    });
  }

  /** Waits until nothing is under way, but not for long: what is not finished is done again at the next start. */
  async #settle(pipeline: ChangePipeline, working: AbortSignal): Promise<void> {
    const limit = new AbortController();
    const either = AbortSignal.any([working, limit.signal]);
    await Promise.race([pipeline.drain(), delayOrAbort(FLUSH_LIMIT_MS, either)]);
    limit.abort();
    if (!pipeline.isIdle && !working.aborted) {
      logger.warn(
        "changes under way could not be finished in {seconds} s; they come again at the next start",
        {
          seconds: FLUSH_LIMIT_MS / 1000,
        },
      );
    }
  }

  #sourceWatch(pipeline: ChangePipeline, loads: readonly IndexLoad[]): SourceWatch {
    return new SourceWatch({
      ...this.options,
      isLoaded: () => loads.every((load) => load.status.state === "done"),
      onReconcile: (documents) => {
        for (const document of documents) pipeline.collecting.addAll(document, null);
        pipeline.changed();
      },
      onFault: (error) => this.#fail(error),
    });
  }

  async #watchSlot(sources: SourceWatch, ending: AbortSignal): Promise<void> {
    const { admin, state, board } = this.options;
    while (!ending.aborted) {
      try {
        const slot = await inspectSlot(admin, state.slotName);
        const lsn = await this.#clock.position();
        if (slot !== null) {
          board.slot = {
            server: lsn,
            retainedBytes: slot.restartLsn === null ? 0 : Math.max(0, Number(lsn - slot.restartLsn)),
            safeBytes: slot.safeWalSize === null ? null : Number(slot.safeWalSize),
          };
        }
      } catch (error) {
        logger.debug("the slot could not be looked at: {error}", { error });
      }
      try {
        if (!ending.aborted) await sources.look();
      } catch (error) {
        logger.debug("the tables could not be looked at: {error}", { error });
      }
      await delayOrAbort(SLOT_LOOK_MS, ending);
    }
  }

  /** Never awaited, as `#watchSlot`. */
  async #watchReplica(ending: AbortSignal): Promise<void> {
    const clock = this.#clock;
    if (!(clock instanceof StandbyClock)) return;
    while (!ending.aborted) {
      await delayOrAbort(REPLICA_LOOK_MS, ending);
      try {
        if (!ending.aborted) await clock.check();
      } catch (error) {
        if (error instanceof PgsyncError && error.code === "REPLICA_UNFIT") this.#fail(error);
        logger.debug("the replica could not be looked at: {error}", { error });
      }
    }
  }

  #show(
    loads: readonly IndexLoad[],
    keyed: readonly KeyedWriter[],
    follower: SlotFollower,
    keeper: PositionKeeper,
    consumer: StreamConsumer,
  ): void {
    const { board, checkpoint, state, search } = this.options;
    board.postgresVersion = state.mapping.catalog.server.version;
    board.searchEngine = search.describe();
    board.indices = () =>
      loads.map((load, at) => {
        const writer = keyed[at]?.index;
        return {
          index: writer?.index ?? "",
          generation: writer?.generation ?? "",
          indexed: writer?.indexed ?? 0,
          deleted: writer?.deleted ?? 0,
          deadLetters: checkpoint.deadLetterCount(writer?.index ?? ""),
          load: load.status,
          equalFrom: load.endLsn,
        };
      });
    board.stream = () => ({
      connected: follower.connected,
      confirmed: keeper.stored,
      received: this.#received,
      lastCommitAt: consumer.lastCommitAt === null ? null : new Date(consumer.lastCommitAt),
    });
    logger.info("following slot {slot} of database {database} from {position}", {
      slot: state.slotName,
      database: state.database,
      position: keeper.stored === 0n ? "the slot's own position" : formatLsn(keeper.stored),
    });
  }

  async #describe(relation: Relation): Promise<Relation> {
    const catalog = await readCatalog(this.#catalog, [relation]);
    const found = catalog.relation(relation);
    if (found !== null) return found;
    throw new PgsyncError("SOURCE_CHANGED", `Table "${relation.schema}"."${relation.table}" is gone.`);
  }

  async #untilDone<T>(work: () => Promise<T>, doing: string, signal: AbortSignal): Promise<T> {
    return await this.#session.untilDone(
      work,
      doing,
      (fault) => this.options.board.retry("postgresql", fault),
      signal,
    );
  }

  #fail(error: unknown): void {
    if (!this.#failure.signal.aborted) this.#failure.abort(error);
  }
}
