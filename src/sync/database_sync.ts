import { getLogger } from "@logtape/logtape";
import { readCatalog } from "../catalog/read.ts";
import type { Relation } from "../catalog/types.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { ErrorCode } from "../errors/codes.ts";
import { PgsyncError, toPgsyncError } from "../errors/error.ts";
import { connectPostgres, type Sql } from "../postgres/connect.ts";
import { followSlot, type SlotFollower } from "../replication/follow.ts";
import { formatLsn, type Lsn } from "../replication/lsn.ts";
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
import { watchReplica } from "./replica_watch.ts";
import { ViewRefresher } from "./view_refresh.ts";
import { watchSlot } from "./slot_watch.ts";
import type { SourceKeeper } from "./source_keeper.ts";
import { SourceLoop } from "./source_loop.ts";
import { documentSource } from "./document_source.ts";
import { SourceWatch } from "./source_watch.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { SyncObserver } from "../status/status.ts";
import type { StatusBoard } from "../status/status_board.ts";
import { StreamConsumer } from "../changes/stream_consumer.ts";

const logger = getLogger(["pgsync", "sync"]);

/** How long a stop may wait for batches under way. */
const FLUSH_LIMIT_MS = 5_000;
/** Errors that a changed table may explain. */
const EXPLICABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "POSTGRES_QUERY",
  "TABLE_MISSING",
  "COLUMN_MISSING",
  "SOURCE_CHANGED",
  "OLD_VALUE_MISSING",
]);

/** What follows one database. */
export interface DatabaseSyncOptions {
  readonly run: RunOptions;
  readonly state: DatabaseState;
  readonly admin: Sql;
  readonly checkpoint: Checkpoint;
  readonly keeper: SourceKeeper;
  /** Documents that were made of something else when the position was stored: all of them are read again. */
  readonly changed: ReadonlySet<MappedDocument>;
  readonly search: SearchClient;
  readonly health: SearchHealth;
  /** Limits the bulk requests under way. */
  readonly requests: Semaphore;
  readonly board: StatusBoard;
  readonly observe: SyncObserver;
}

/** Why the documents of a database have to be mapped anew. */
export interface Remap {
  /** One sentence. */
  readonly reason: string;
}

/** Loads the indices of one database and follows its slot: the parts, joined. */
export class DatabaseSync {
  readonly #failure = new AbortController();
  /** Aborted when the documents have to be mapped anew; its reason is the `Remap`. */
  readonly #remapping = new AbortController();
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
   * @returns null at the end; a reason where the tables have changed, so that the documents must be mapped anew
   * @throws PgsyncError
   */
  async run(control: { readonly signal: AbortSignal; readonly daemon: boolean }): Promise<Remap | null> {
    const { board, checkpoint } = this.options;
    const working = this.#failure.signal;
    const leave = AbortSignal.any([control.signal, this.#remapping.signal]);
    const ending = AbortSignal.any([leave, working]);
    const leaving = new AbortController();
    let follower: SlotFollower | null = null;
    let watch: SourceWatch | null = null;
    try {
      const loads = await this.#openIndices(working, ending);
      const keyed = loads.map((load) => load.keyed);
      const watched = AbortSignal.any([working, leaving.signal]);
      void watchReplica(this.#clock, (error) => this.#fail(error), watched);
      await this.#untilDone(() => this.#clock.takeOver(ending), "tell how far it is", ending);

      const keeper = new PositionKeeper(
        checkpoint,
        (position) => follower?.confirm(position),
        (error) => this.#fail(error),
      );
      const { search, run: { loadWorkers, loadChunkRows } } = this.options;
      const onFault = (fault: PgsyncError) => board.retry("postgresql", fault);
      const processor = new BatchProcessor(
        { session: this.#session, search, workers: loadWorkers, chunkRows: loadChunkRows, onFault },
        this.#clock,
        keyed,
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
      const collector = new ChangeCollector(this.options.state.mapping.sources, () => loop.soon());
      const consumer = new StreamConsumer(collector, pipeline, this.options.observe);
      watch = this.#sourceWatch(pipeline, loads.map((entry) => entry.load));
      const loop = this.#sourceLoop(watch);
      this.#compareChanged(pipeline, loads);
      follower = this.#follow(consumer, keeper, leaving.signal);
      follower.done.catch((error) => this.#fail(error));
      this.#show(loads.map((entry) => entry.load), keyed, follower, keeper, consumer);
      // Never awaited: a look that PostgreSQL does not answer ends when its session is closed.
      const watching = AbortSignal.any([working, leaving.signal]);
      void watchSlot(this.options.admin, this.options.state.slotName, this.#clock, board, watching);
      void loop.run(watching);
      void this.#refreshViews(() => loop.soon(), watching);

      try {
        await this.#work(loads.map((entry) => entry.load), keeper, ending, control.daemon);
      } catch (thrown) {
        if (!leave.aborted || working.aborted) throw thrown;
      }
      // Stopping: take nothing more, let what is under way finish, store the position, take leave.
      board.phase = this.#remap === null ? "stopping" : "catching-up";
      await this.#settle(pipeline, working);
      keeper.flush();
      keeper.close();
      leaving.abort();
      await follower.done;
      working.throwIfAborted();
      if (this.#remap !== null && !control.signal.aborted) return this.#remap;
      board.phase = "stopped";
      return null;
    } catch (thrown) {
      let error = toPgsyncError(this.#failure.signal.aborted ? this.#failure.signal.reason : thrown);
      this.#fail(error);
      if (control.signal.aborted && !(thrown instanceof PgsyncError)) return null;
      const explanation = this.#remap ?? await this.#explain(error, watch);
      if (explanation instanceof PgsyncError) error = explanation;
      else if (explanation !== null) return control.signal.aborted ? null : explanation;
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

  /** Never awaited: a refresh may take long, and ends with its connection. */
  async #refreshViews(onRefreshed: () => void, ending: AbortSignal): Promise<void> {
    const { run, state: { database, mapping }, board } = this.options;
    const sql = connectPostgres(run.postgres, { database, purpose: "refresh", max: 1, kind: "admin" });
    const refresher = new ViewRefresher({
      sql,
      server: mapping.catalog.server,
      documents: mapping.documents,
      intervalSeconds: run.viewRefreshSeconds,
      onWarning: (message) => board.warn(message),
    });
    const close = () => void sql.end({ timeout: 0 });
    ending.addEventListener("abort", close, { once: true });
    await refresher.run(onRefreshed, ending);
    close();
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
    board.remapping = null;
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
    const { run, state, keeper, changed, search, checkpoint, requests, health, board, observe } =
      this.options;
    const { systemIdentifier } = state.mapping.catalog.server;
    const limits = { bulkBytes: run.bulkBytes, bulkDocuments: run.bulkDocuments };
    const onFault = (fault: PgsyncError) => board.retry("postgresql", fault);
    const opened = [];
    for (const mapped of state.mapping.documents) {
      // Chunks that were loaded before the tables changed are no better than none.
      if (changed.has(mapped) && checkpoint.load(mapped.schema.index)?.finished === false) {
        checkpoint.forgetLoad(mapped.schema.index);
      }
      const keptKey = keeper.keptKey(mapped, state.tables);
      const open = await openIndex(
        search,
        mapped,
        systemIdentifier,
        checkpoint,
        run.bootstrap,
        keptKey,
        ending,
      );
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
    const { documents } = this.options.state.mapping;
    return new SourceWatch({
      ...this.options,
      isLoaded: (document) => loads[documents.indexOf(document)]?.status.state === "done",
      onReconcile: (document, whenDone) => compareAll(pipeline, document, whenDone),
    });
  }

  #sourceLoop(watch: SourceWatch): SourceLoop {
    const { run, board } = this.options;
    return new SourceLoop(watch, run.catalogIntervalMs, (result, began) => {
      if (result.kind === "fault") this.#fail(result.error);
      else if (result.kind === "remap") this.#mapAnew(result);
      else board.tablesLookedAt = began;
    });
  }

  /** What was done to the tables while nobody looked goes before everything that the stream will tell. */
  #compareChanged(pipeline: ChangePipeline, loads: readonly { readonly load: IndexLoad }[]): void {
    const { state, keeper, changed } = this.options;
    for (const [at, mapped] of state.mapping.documents.entries()) {
      const { index } = mapped.schema;
      const source = documentSource(mapped, state.tables);
      if (!changed.has(mapped) || loads[at]?.load.status.state !== "done") keeper.found(index, source);
      else {
        logger.info("tables of index {index} have changed; its documents are compared", { index });
        compareAll(pipeline, mapped, keeper.demands(index, source));
      }
    }
  }

  /** What a look at the tables says of an error: why to map anew, or a better error; null where it says nothing. */
  async #explain(error: PgsyncError, watch: SourceWatch | null): Promise<Remap | PgsyncError | null> {
    if (watch === null || !EXPLICABLE.has(error.code)) return null;
    try {
      const result = await watch.look();
      if (result.kind === "fine") return null;
      return result.kind === "fault" ? result.error : result;
    } catch (thrown) {
      logger.debug("the tables could not be looked at: {error}", { error: thrown });
      return null;
    }
  }

  get #remap(): Remap | null {
    const { signal } = this.#remapping;
    return signal.aborted ? signal.reason : null;
  }

  #mapAnew(remap: Remap): void {
    this.options.board.remapping = remap.reason;
    if (!this.#remapping.signal.aborted) this.#remapping.abort(remap);
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

/** Has every root of a document read again, and documents without a row removed. */
function compareAll(pipeline: ChangePipeline, document: MappedDocument, whenDone: () => void): void {
  pipeline.collecting.addAll(document, null);
  pipeline.collecting.whenDone.push(whenDone);
  pipeline.changed();
}
