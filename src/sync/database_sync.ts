import { getLogger } from "@logtape/logtape";
import { BatchProcessor } from "../changes/batch_processor.ts";
import { ChangeCollector } from "../changes/change_collector.ts";
import { ChangePipeline } from "../changes/change_pipeline.ts";
import { PositionKeeper } from "../changes/position_keeper.ts";
import { ResumePoint } from "../changes/resume_point.ts";
import { StreamConsumer } from "../changes/stream_consumer.ts";
import { PgsyncError, toPgsyncError } from "../errors/error.ts";
import { errorContext, type Sql } from "../postgres/connect.ts";
import { postgresError } from "../postgres/errors.ts";
import type { HeldSlot } from "../replication/held_slot.ts";
import { delayOrAbort } from "../retry/backoff.ts";
import { isTemporary, patiently } from "../retry/patience.ts";
import type { HealthPart, SearchHealth } from "../search/health.ts";
import { type FollowedIndex, type IndexOpening, openIndices, untilNoneRevived } from "./followed_index.ts";
import type { DeadLetterDesk } from "./dead_letters/dead_letter_desk.ts";
import type { DeadLetterLimit } from "./dead_letters/dead_letter_limit.ts";
import { forgetFailingLooks, tellFailingLooks } from "./failing_looks.ts";
import { watchLeftOutRows } from "./left_out_rows.ts";
import { RowSource } from "./source/row_source.ts";
import { type Remap, RunSignals } from "./run_signals.ts";
import { watchHolder } from "./slot/holder_watch.ts";
import { SlotHold } from "./slot/slot_hold.ts";
import { recordRestore, restoredError } from "./slot/slot_position.ts";
import { standsByAfter, verdict } from "./slot/slot_loss.ts";
import { SourceLoop } from "./source/source_loop.ts";
import { SourceWatch } from "./source/source_watch.ts";
import { ViewRefresher } from "./source/view_refresher.ts";

const logger = getLogger(["pgsync", "sync"]);

/** How long a stop may wait for batches under way. */
const FLUSH_LIMIT_MS = 5_000;
/** The same where another process stands by: nothing comes to the index before it has the slot. */
const HAND_OVER_LIMIT_MS = 2_000;

/** What follows one database. */
export interface DatabaseSyncOptions extends Omit<IndexOpening, "replaced" | "health"> {
  readonly admin: Sql;
  /** Outlives this object: what is told once is not told again after each change of a table. */
  readonly limit: DeadLetterLimit;
  readonly health: SearchHealth;
  /** As in `SlotHoldOptions`. */
  readonly walsenders: Set<number>;
  /** Takes what operators want done with dead letters. */
  readonly desk: DeadLetterDesk;
  /** The session that holds the slot already, where other processes stand by for it; else null. */
  readonly held: HeldSlot | null;
  /** Called at once when the slot was let go of, and the following is to begin anew: what is tidied up after that may take long. */
  readonly onLetGo: () => void;
}

/** Loads the indices of one database and follows its slot: the parts, joined. */
export class DatabaseSync {
  readonly #signals = new RunSignals();
  readonly #health: HealthPart;
  readonly #source: RowSource;
  /** Aborted when another process has taken the slot over. */
  readonly #replaced = new AbortController();
  #loading: readonly Promise<void>[] = [];
  #indices: readonly FollowedIndex[] = [];
  /** Set when the server does not hold what was taken from it. */
  #restored: PgsyncError | null = null;

  constructor(private readonly options: DatabaseSyncOptions) {
    this.#health = options.health.part();
    this.#source = new RowSource({ ...options, health: this.#health });
  }

  /**
   * Loads and catches up; with `daemon` it goes on until the signal, then lets batches under way finish.
   *
   * @returns null at the end; a reason where the tables have changed, so that the documents must be mapped anew
   * @throws PgsyncError
   */
  async run(control: { readonly signal: AbortSignal; readonly daemon: boolean }): Promise<Remap | null> {
    const { state, admin, checkpoint, board, desk, limit, search, memory, observe } = this.options;
    const source = this.#source;
    const { working } = this.#signals;
    const onFailure = (error: unknown) => this.#signals.fail(error);
    const leave = AbortSignal.any([control.signal, this.#signals.remapping]);
    const ending = AbortSignal.any([leave, working]);
    const leaving = new AbortController();
    // What nobody waits for: a look that PostgreSQL does not answer ends when its session is closed.
    const watching = AbortSignal.any([working, leaving.signal]);
    const keeper = new PositionKeeper(checkpoint, (position) => slot?.confirm(position), onFailure);
    let slot: SlotHold | null = null;
    let pipeline: ChangePipeline | null = null;
    let watch: SourceWatch | null = null;
    const refresher = new ViewRefresher(this.options);
    /** Why the following begins anew; null where it does not, or where an error tells. */
    let remap: Remap | null = null;
    try {
      board.postgresVersion = state.mapping.catalog.server.version;
      board.searchEngine = search.describe();
      board.replica = () => source.problem;
      limit.check();
      void source.watch(onFailure, watching);

      // Nothing is compared or loaded before the slot is held, nor any index made: whoever holds it until then may refuse documents that were
      // compared here, and end.
      const onTaken = () => source.clock.slotTaken();
      slot = new SlotHold({ ...this.options, keeper, onTaken, signal: leaving.signal });
      const onReplaced = async (error: PgsyncError) => {
        this.#replaced.abort();
        void pipeline?.drain();
        await untilNoneRevived(this.#indices, AbortSignal.any([control.signal, working]));
        onFailure(error);
      };
      slot.done.catch((error: unknown) => {
        if (error instanceof PgsyncError && error.code === "CHECKPOINT_BEHIND") void onReplaced(error);
        else onFailure(error);
      });
      if (this.options.held !== null) {
        const watched = {
          admin,
          slotName: state.slotName,
          follower: slot,
          walsenders: this.options.walsenders,
        };
        void watchHolder({ ...watched, onReplaced }, watching);
      }
      await slot.taken(ending);
      const indices = await this.#open(ending, control.daemon);
      if (indices instanceof PgsyncError) {
        remap = { reason: indices.message, fault: indices };
        return remap;
      }
      this.#indices = indices;
      await source.untilDone(() => source.clock.takeOver(ending), "tell how far it is", ending);

      // The way of a change, from its end: each part hands on to the one above it.
      pipeline = new ChangePipeline({
        processor: this.#processor(indices),
        memory: memory.budget.changes,
        batchBytes: memory.batchBytes,
        holdBack: (paused) => slot?.holdBack(paused),
        onPosition: (position, lastCommit) => keeper.advance(position, lastCommit),
        onFailure,
        observe,
        signal: working,
      });
      using _ = desk.writes({ pipeline, documents: state.mapping.documents });
      const collector = new ChangeCollector(state.mapping.sources, () => loop.soon());
      const resume = new ResumePoint(
        () => keeper.lastCommit,
        (commit) => this.#restored = restoredError(this.options.run.postgres, state.slotName, commit),
      );
      const consumer = new StreamConsumer(collector, pipeline, observe, resume);
      const renewStream = async () => {
        // Not before the stream is past what misleads it: the new session begins with the last transaction that this one has taken.
        const lsn = await source.untilDone(
          () => source.clock.writeSomething(),
          "write a logical message",
          ending,
        );
        await keeper.waitForCommit(lsn, ending);
        await slot?.renew();
      };
      const looks = watch = this.#sourceWatch(pipeline, indices, renewStream);
      const loop = this.#sourceLoop(looks);
      await source.untilDone(() => looks.compareChanged(this.options.changed), "read its locks", ending);
      board.indices = () => indices.map((index) => index.view);
      slot.deliver(consumer);
      void loop.run(watching);
      void refresher.run(() => loop.soon(), watching);

      try {
        await this.#work(indices, keeper, ending, control.daemon);
      } catch (thrown) {
        if (!leave.aborted || working.aborted) throw thrown;
      }
      // Stopping: take nothing more, let what is under way finish, store the position, take leave.
      board.phase = this.#signals.remap === null ? "stopping" : "catching-up";
      await this.#settle(pipeline, this.options.held === null ? FLUSH_LIMIT_MS : HAND_OVER_LIMIT_MS);
      keeper.flush();
      leaving.abort();
      await slot.done;
      working.throwIfAborted();
      if (this.#signals.remap !== null && !control.signal.aborted) {
        remap = this.#signals.remap;
        return remap;
      }
      if (!control.daemon && !control.signal.aborted) limit.refuse();
      board.phase = "stopped";
      return null;
    } catch (thrown) {
      const error = toPgsyncError(working.aborted ? working.reason : thrown);
      onFailure(error);
      if (control.signal.aborted && !(thrown instanceof PgsyncError)) return null;
      const explanation = this.#signals.remap ?? await watch?.explain(error) ?? null;
      if (explanation !== null && !(explanation instanceof PgsyncError)) {
        if (!control.signal.aborted) remap = explanation;
        return remap;
      }
      const fault = explanation ?? error;
      // At once: what is still to be tidied up may wait for a server.
      const standsBy = this.options.held !== null && standsByAfter(fault);
      if (verdict(this.options.run, fault) === "halt" && !standsBy) board.halt(fault);
      throw fault;
    } finally {
      onFailure(new PgsyncError("INTERNAL", "The run is over."));
      // What it would still store may be the position of another life of the file.
      keeper.close();
      leaving.abort();
      // Its own error, if any, has been told; what counts here is that the slot is free.
      await slot?.done.catch((error: unknown) => logger.debug("the stream ended with {error}", { error }));
      await this.options.held?.release();
      if (remap !== null) this.options.onLetGo();
      await refresher[Symbol.asyncDispose]();
      await source[Symbol.asyncDispose]();
      // Nobody else writes to the checkpoint file when this returns, nor to an index.
      await Promise.allSettled(this.#loading);
      for (const index of this.#indices) index.close(this.#replaced.signal.aborted);
      this.#health[Symbol.dispose]();
      pipeline?.close();
      await watch?.markUnheard();
      this.options.keeper.close();
      if (this.#restored !== null) recordRestore(this.#restored, checkpoint);
    }
  }

  /**
   * Documents are mapped anew also while the search engine is away: what was begun is found, and gone on with. A run that is not to
   * stay has somebody who waits for it.
   *
   * @returns why the indices do not take this mapping, of which the tables may be the cure as well as the search engine
   */
  async #open(
    signal: AbortSignal,
    daemon: boolean,
  ): Promise<FollowedIndex[] | PgsyncError> {
    const { state, board } = this.options;
    const health = this.#health;
    const opening = { ...this.options, health, replaced: this.#replaced.signal };
    const open = () => openIndices(opening, this.#source, this.#signals.working, signal);
    if (!daemon) return await open();
    const subject = `indices of ${state.database}`;
    const onFault = (fault: PgsyncError) => {
      health.failed(subject, fault, new Date());
      board.retry(fault);
      return () => health.succeeded(subject);
    };
    const mayPass = (fault: PgsyncError) => isTemporary(fault) && fault.code !== "FIELDS_REFUSED";
    try {
      return await patiently(open, toPgsyncError, onFault, signal, mayPass);
    } catch (thrown) {
      if (thrown instanceof PgsyncError && thrown.code === "FIELDS_REFUSED") return thrown;
      throw thrown;
    }
  }

  /** Loads, catches up, and streams until the end comes. */
  async #work(
    indices: readonly FollowedIndex[],
    keeper: PositionKeeper,
    ending: AbortSignal,
    daemon: boolean,
  ): Promise<void> {
    const { board } = this.options;
    const source = this.#source;
    board.phase = indices.every((index) => index.isLoaded) ? "catching-up" : "loading";
    const loaded = indices.map(({ load }) => load.run(ending));
    this.#loading = indices.map(async ({ load }, at) => {
      await loaded[at];
      await load.declare((lsn, signal) => keeper.waitFor(lsn, signal), ending);
    });
    const declared = Promise.all(this.#loading);
    await Promise.race([Promise.all(loaded), declared]);
    board.phase = "catching-up";
    const lsn = await source.untilDone(() => source.clock.position(), "tell its WAL position", ending);
    const target = indices.reduce(
      (latest, { load }) => load.endLsn !== null && load.endLsn > latest ? load.endLsn : latest,
      lsn,
    );
    // Something must follow the target in the stream for the position to pass it at once.
    await source.untilDone(() => source.clock.writeSomething(), "write a logical message", ending);
    await keeper.waitFor(target, ending);
    await declared;
    board.remapping = null;
    board.phase = "streaming";
    const counting = watchLeftOutRows(this.options, ending, { once: !daemon });
    if (!daemon) return await counting;
    await new Promise<never>((_, reject) => {
      if (ending.aborted) reject(ending.reason);
      ending.addEventListener("abort", () => reject(ending.reason), { once: true });
    });
  }

  #processor(indices: readonly FollowedIndex[]): BatchProcessor {
    const { search, memory: { work: memory }, run: { loadWorkers, loadChunkRows } } = this.options;
    const { session, clock, onFault } = this.#source;
    return new BatchProcessor(
      { session, search, memory, workers: loadWorkers, chunkRows: loadChunkRows, onFault },
      clock,
      indices.map(({ keyed }) => keyed),
    );
  }

  #sourceWatch(
    pipeline: ChangePipeline,
    indices: readonly FollowedIndex[],
    renewStream: () => Promise<void>,
  ): SourceWatch {
    return new SourceWatch({
      ...this.options,
      isLoaded: (document) => indices.some(({ mapped, isLoaded }) => mapped === document && isLoaded),
      onReconcile: (document, whenDone) => pipeline.reconcile(document, whenDone),
      renewStream,
    });
  }

  #sourceLoop(watch: SourceWatch): SourceLoop {
    const { run, admin, board } = this.options;
    return new SourceLoop(watch, run.catalogIntervalMs, {
      onLook: (result, began) => {
        forgetFailingLooks(board);
        if (result.kind === "fault") this.#signals.fail(result.error);
        else if (result.kind === "remap") {
          board.remapping = result.reason;
          this.#signals.mapAnew(result);
        } else board.tablesLookedAt = began;
      },
      onFailure: (thrown, since) => {
        const error = postgresError(thrown, errorContext(admin, "look at the tables"));
        if (error.code === "SERVER_CHANGED") this.#signals.fail(error);
        else tellFailingLooks(board, error, since);
      },
    });
  }

  /** Waits until nothing is under way, but not for long: what is not finished is done again at the next start. */
  async #settle(pipeline: ChangePipeline, limitMs: number): Promise<void> {
    const { working } = this.#signals;
    const limit = new AbortController();
    await Promise.race([
      pipeline.drain(),
      delayOrAbort(limitMs, AbortSignal.any([working, limit.signal])),
    ]);
    limit.abort();
    if (!pipeline.isIdle && !working.aborted && !this.#replaced.signal.aborted) {
      logger.warn(
        "changes under way could not be finished in {seconds} s; they come again at the next start",
        { seconds: limitMs / 1000 },
      );
    }
  }
}
