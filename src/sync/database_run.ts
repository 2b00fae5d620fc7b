import { getLogger } from "@logtape/logtape";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { PgsyncError, toPgsyncError } from "../errors/error.ts";
import { connectPostgres, errorContext, type Sql } from "../postgres/connect.ts";
import { postgresError, standbyError } from "../postgres/errors.ts";
import { isTemporary, patiently } from "../retry/patience.ts";
import { inspectSlot } from "../replication/slot.ts";
import { orAborted } from "../retry/abort.ts";
import { backoffDelay, delay } from "../retry/backoff.ts";
import type { DocumentSchema } from "../schema/tree.ts";
import type { SearchClient } from "../search/client.ts";
import { isOfSearch } from "../search/errors.ts";
import { makeMissing } from "./bootstrap.ts";
import { checkpointPath } from "./checkpoint_path.ts";
import { slotName } from "./database_mapping.ts";
import { type DatabaseState, identityOf, readDatabase } from "./database_state.ts";
import { setupProblems } from "./setup_problems.ts";
import { DatabaseSync, type DatabaseSyncOptions } from "./database_sync.ts";
import { DeadLetterLimit } from "./dead_letter_limit.ts";
import { documentSource, sourceChange } from "./document_source.ts";
import { materializedViews } from "./materialized_views.ts";
import { openPatiently } from "./open_checkpoint.ts";
import { checkReplica } from "./replica_check.ts";
import type { Remap } from "./run_signals.ts";
import { sessionLimitWarning } from "./session_limits.ts";
import { SlotWatch } from "./slot_watch.ts";
import {
  findLoss,
  giveSlotUp,
  goesOnAfter,
  isLoss,
  isLossProblem,
  mayMend,
  mayResync,
  recordLoss,
  standsByAfter,
} from "./slot_loss.ts";
import { checkBelonging, followOn, warnOfNewFile } from "./slot_position.ts";
import type { SlotClaim } from "./slot_claim.ts";
import { SourceKeeper } from "./source_keeper.ts";
import { certainChange } from "./source_watch.ts";
import { ViewRefresher } from "./view_refresher.ts";
import type { MappedDocument } from "../mapping/tree.ts";

const logger = getLogger(["pgsync", "sync"]);

/** Tables that change again and again are mapped anew with growing pauses. */
const REMAP_LIMITS = { baseMs: 500, capMs: 30_000 };
/** Somebody may take a replica identity away again while it is set; a run would halt at the first row without its old values. */
const BOOTSTRAP_ATTEMPTS = 5;
/** A mapping that lasted longer makes the next change the first one again. */
const STABLE_AFTER_MS = 60_000;
/** What was read of the tables is read anew where the search engine, or the checkpoint file, was waited for for longer. */
const FRESH_FOR_MS = 1_000;

/** What the runs of all databases share. */
export interface SharedOptions
  extends Pick<DatabaseSyncOptions, "run" | "board" | "desk" | "requests" | "memory" | "health" | "observe"> {
  /** The search engine; it may be waited for for long. */
  readonly search: Promise<SearchClient>;
}

/** How a run of one database goes on and ends. */
export interface DatabaseControl {
  readonly signal: AbortSignal;
  readonly daemon: boolean;
}

/**
 * A run of one database: prepares it, follows it, and when its tables have changed so that documents are built in another
 * way, maps them anew and goes on from the stored position.
 */
export class DatabaseRun {
  readonly #slotName: string;

  constructor(
    private readonly database: string,
    private readonly documents: readonly DocumentSchema[],
    private readonly shared: SharedOptions,
    /** Where other processes may stand by for the slot: in their turn with this one, which begins when the slot is held. */
    private readonly hold: SlotClaim | null = null,
  ) {
    this.#slotName = slotName(shared.run.slot, database);
  }

  /** Looks whether a run could be started, and writes nothing. @throws PgsyncError; the signal's reason */
  async check(signal: AbortSignal): Promise<void> {
    const admin = this.#connect();
    try {
      this.#refuse(await this.#read(admin, signal));
    } finally {
      await admin.end({ timeout: 1 });
    }
  }

  /** @throws PgsyncError; the signal's reason where it is aborted before anything is followed */
  async run(wanted: DatabaseControl): Promise<void> {
    const { run, board, desk } = this.shared;
    const { database, hold } = this;
    // Until it is followed, nothing is written but by whoever holds the slot.
    const signal = hold === null ? wanted.signal : AbortSignal.any([wanted.signal, hold.lost]);
    const control = { ...wanted, signal };
    let admin = this.#connect();
    try {
      let state = await this.#read(admin, control.signal);
      this.#refuse(state);
      for (const warning of state.mapping.warnings) board.warn(warning);
      const { role } = state.mapping.catalog.server;
      board.stand("session limits", await orAborted(sessionLimitWarning(admin, role), control.signal));
      if (run.postgresReplica !== null) {
        const { systemIdentifier } = state.mapping.catalog.server;
        const check = checkReplica({ options: run.postgresReplica, systemIdentifier }, database);
        await orAborted(check, control.signal);
      }
      using _watch = this.#watchSlot(() => admin);
      const began = performance.now();
      const search = await orAborted(this.shared.search, control.signal);
      using checkpoint = await openPatiently(checkpointPath(run, this.#slotName), control.signal);
      const isFresh = performance.now() - began < FRESH_FOR_MS;
      using _ = desk.opened(checkpoint);
      const limit = this.#deadLetterLimit(checkpoint, control.daemon);
      checkpoint.onDeadLetters = () => limit.check();
      state = await this.#prepareFirst(admin, isFresh ? state : null, checkpoint, control);
      checkpoint.adopt(identityOf(state));
      this.#forgetOthers(checkpoint);
      const refreshed = await this.#refreshViews(state, control.signal);
      if (refreshed.size > 0) {
        state = await this.#read(admin, control.signal);
        this.#refuse(state);
      }
      let changed = await orAborted(this.#changed(admin, state, checkpoint), control.signal);
      // The server may not have counted yet what was written.
      for (const mapped of state.mapping.documents) {
        if (materializedViews([mapped]).some((view) => refreshed.has(view.oid))) changed.add(mapped);
      }
      for (let changes = 0;; changes++) {
        const began = performance.now();
        const keeper = new SourceKeeper(checkpoint);
        const held = await hold?.take(checkpoint.position() ?? 0n, identityOf(state), control.signal) ?? null;
        const following = { ...this.shared, search, state, admin, checkpoint, keeper, changed, limit, held };
        const end: Restart | null = await new DatabaseSync(following).run(wanted)
          .catch((error: unknown) => this.#goOnAfter(error, checkpoint));
        if (end === null) return;
        board.remapping = end.reason;
        if (end.fault !== undefined) board.retry(end.fault);
        else logger.warn("{reason}", { reason: end.reason });
        if (performance.now() - began > STABLE_AFTER_MS) changes = 0;
        if (changes > 0) await delay(backoffDelay(changes, REMAP_LIMITS), control.signal);
        await this.#holdOn(state, checkpoint, control.signal);
        if (end.error?.code === "SERVER_CHANGED") {
          // Its sessions may still be those of the server before.
          await admin.end({ timeout: 0 });
          admin = this.#connect();
        }
        ({ state, changed } = await this.#readAnew(admin, checkpoint, end.error ?? null, control.signal));
      }
    } finally {
      await admin.end({ timeout: 1 });
    }
  }

  /** Holds the slot while the database is read anew, unless there is none to be held any more. @throws PgsyncError as `SlotClaim.hold` */
  async #holdOn(state: DatabaseState, checkpoint: Checkpoint, signal: AbortSignal): Promise<void> {
    try {
      await this.hold?.hold(checkpoint.position() ?? 0n, identityOf(state), signal);
    } catch (thrown) {
      if (!(thrown instanceof PgsyncError && isLoss(thrown))) throw thrown;
      logger.debug("the slot cannot be held: {reason}", { reason: thrown.message });
    }
  }

  #deadLetterLimit(checkpoint: Checkpoint, daemon: boolean): DeadLetterLimit {
    const { run, board } = this.shared;
    return new DeadLetterLimit({
      database: this.database,
      max: run.maxDeadLetters,
      count: () =>
        this.documents.reduce((sum, document) => sum + checkpoint.deadLetterCount(document.index), 0),
      board,
      daemon,
    });
  }

  #connect(): Sql {
    const { postgres } = this.shared.run;
    return connectPostgres(postgres, { database: this.database, purpose: "admin", max: 3, kind: "admin" });
  }

  #watchSlot(admin: () => Sql): SlotWatch {
    const { board, run } = this.shared;
    return new SlotWatch({ admin, slotName: this.#slotName, board, mostRetainedBytes: run.walWarningBytes });
  }

  /** An index that the schema file has no more misses what the stream tells from now on: should it come back, its documents are compared. */
  #forgetOthers(checkpoint: Checkpoint): void {
    for (const index of checkpoint.keepSources(this.documents.map((document) => document.index))) {
      logger.warn(
        "index {index} is in the schema file no more and is left as it is; when it comes back, its documents are compared",
        { index },
      );
    }
  }

  /** The size of a table, among others, is told only when nobody has it locked: a run that is to end does not wait for that. */
  async #read(admin: Sql, signal: AbortSignal): Promise<DatabaseState> {
    return await orAborted(readDatabase(admin, this.database, this.documents, this.#slotName), signal);
  }

  /** Refreshes the materialised views before anything is read of them. @returns those whose rows may have changed */
  async #refreshViews(state: DatabaseState, signal: AbortSignal): Promise<ReadonlySet<number>> {
    await using refresher = new ViewRefresher({ ...this.shared, state });
    return await orAborted(refresher.refresh(signal), signal);
  }

  /** Which documents are made of something else than when the position was stored. @throws PgsyncError of PostgreSQL */
  async #changed(admin: Sql, state: DatabaseState, checkpoint: Checkpoint): Promise<Set<MappedDocument>> {
    const keeper = new SourceKeeper(checkpoint);
    const changed = new Set<MappedDocument>();
    for (const mapped of state.mapping.documents) {
      const before = keeper.stored(mapped.schema.index);
      const now = documentSource(mapped, state.tables);
      // Where nothing is known (an older version, a lost file), anything may have changed.
      const change = before === null ? null : sourceChange(mapped, before, now);
      try {
        if (change === null || (await certainChange(admin, change)).kind !== "none") changed.add(mapped);
      } catch (thrown) {
        throw postgresError(thrown, errorContext(admin, "read its catalog"));
      }
    }
    return changed;
  }

  /** @throws PgsyncError what keeps the run from starting, unless it is a loss, and it may mend that */
  #refuse(state: DatabaseState, goesOn = false): void {
    const { run } = this.shared;
    refuse(
      setupProblems(state, run.bootstrap, goesOn)
        .filter((problem) => !mayResync(run) || !isLossProblem(problem, state)),
    );
  }

  /**
   * Makes what is missing, where it may, and what was lost anew.
   *
   * @param lost what the run was ended by; null: it is found out whether anything was lost
   * @throws PgsyncError a loss where nothing may be made anew; others that a run cannot be started with
   */
  async #prepare(
    admin: Sql,
    found: DatabaseState,
    checkpoint: Checkpoint,
    signal: AbortSignal,
    lost: PgsyncError | null = null,
    goesOn = false,
  ): Promise<DatabaseState> {
    const { run, board } = this.shared;
    if (goesOn) checkBelonging(found, checkpoint);
    this.#refuse(found, goesOn);
    // Without a slot there is nothing that a file of before could go on with.
    if (found.slot !== null) checkBelonging(found, checkpoint);
    const isFirst = run.bootstrap && found.slot === null && checkpoint.identity() === null;
    const loss = lost ??
      (isFirst ? null : await orAborted(findLoss(admin, run.postgres, found, checkpoint), signal));
    // Whoever holds the slot knows that nobody else follows it any more.
    if (loss?.code === "CHECKPOINT_BEHIND" && found.slot !== null && this.hold?.isHeld === true) {
      followOn(found.slot, checkpoint);
      return run.bootstrap ? await this.#makeMissing(admin, found, checkpoint, signal) : found;
    }
    if (loss === null) {
      if (found.slot !== null) warnOfNewFile(found.slot, checkpoint);
      return run.bootstrap ? await this.#makeMissing(admin, found, checkpoint, signal) : found;
    }
    recordLoss(loss, checkpoint);
    if (!mayMend(loss, run, found.slot)) throw loss;
    await this.#refuseOtherMaker(admin, found, signal);
    // Nothing is given up in vain.
    refuse(setupProblems(found, true, goesOn).filter((problem) => !isLossProblem(problem, found)));
    await this.hold?.release();
    await giveSlotUp(admin, found, loss, board, signal);
    return await this.#makeMissing(admin, { ...found, slot: null }, checkpoint, signal);
  }

  /**
   * As `#prepare`. A run that is to stay waits for a search engine that has only begun to start, or is away again.
   *
   * @param found null: it has to be read anew
   */
  async #prepareFirst(
    admin: Sql,
    found: DatabaseState | null,
    checkpoint: Checkpoint,
    { signal, daemon }: DatabaseControl,
  ): Promise<DatabaseState> {
    const { health, board } = this.shared;
    let known = found;
    const prepare = async () => {
      // After a wait the tables may be others, and part of what is missing may be made already.
      const state = known ?? await this.#read(admin, signal);
      known = null;
      return await this.#prepare(admin, state, checkpoint, signal);
    };
    if (!daemon) return await prepare();
    const mayWait = (fault: PgsyncError) => isOfSearch(fault) && isTemporary(fault);
    using told = health.part();
    const onFault = (fault: PgsyncError) => {
      told.failed(`indices of ${this.database}`, fault, new Date());
      board.retry(fault);
    };
    return await patiently(prepare, toPgsyncError, onFault, signal, mayWait);
  }

  async #makeMissing(
    admin: Sql,
    state: DatabaseState,
    checkpoint: Checkpoint,
    signal: AbortSignal,
  ): Promise<DatabaseState> {
    const search = await this.shared.search;
    if (state.slot === null) await this.#refuseOtherMaker(admin, state, signal);
    // A slot waits for older transactions; a run that is to end does not wait with it.
    const report = (line: string) => logger.info("{line}", { line });
    let made = state;
    for (let attempt = 0; attempt < BOOTSTRAP_ATTEMPTS; attempt++) {
      await orAborted(makeMissing(admin, made, checkpoint, search, report, signal), signal);
      made = await this.#read(admin, signal);
      if (!made.mapping.identities.some((need) => need.lacksItself)) break;
    }
    return made;
  }

  /** Of processes that stand by, one at a time makes the slot. @throws PgsyncError SLOT_ACTIVE where another one does */
  async #refuseOtherMaker(admin: Sql, found: DatabaseState, signal: AbortSignal): Promise<void> {
    if (this.hold === null || this.hold.isMaking) return;
    if (await this.hold.makesAlone(signal)) {
      // It may have been made since it was looked for.
      const slot = await orAborted(inspectSlot(admin, this.#slotName), signal);
      if (slot?.confirmedFlushLsn === found.slot?.confirmedFlushLsn) return;
    }
    throw new PgsyncError("SLOT_ACTIVE", `Another process makes the replication slot "${this.#slotName}".`);
  }

  /**
   * How the run goes on after an error that ended the following.
   *
   * @throws the error, where it does not
   */
  #goOnAfter(error: unknown, checkpoint: Checkpoint): Restart {
    if (error instanceof PgsyncError) recordLoss(error, checkpoint);
    if (!goesOnAfter(this.shared.run, error)) throw error;
    if (this.hold !== null && standsByAfter(error)) throw error;
    if (error.code === "SERVER_CHANGED") {
      return { reason: `${error.message} All sessions are opened anew.`, error };
    }
    return { reason: `Changes are lost: ${error.message}`, error };
  }

  /** Reads the changed database, however long that takes. @param error what the run was ended by */
  async #readAnew(admin: Sql, checkpoint: Checkpoint, error: PgsyncError | null, signal: AbortSignal) {
    const { run, board } = this.shared;
    const read = async () => {
      const found = await this.#read(admin, signal);
      if (found.mapping.catalog.server.inRecovery) throw standbyError(run.postgres);
      // A publication that somebody has only changed is for him to mend.
      if (error?.code === "PUBLICATION_MISSING" && !isLoss(error) && found.publication !== null) throw error;
      const lost = error !== null && isLoss(error) ? error : null;
      const state = await this.#prepare(admin, found, checkpoint, signal, lost, true);
      checkpoint.adopt(identityOf(state));
      return { state, changed: await orAborted(this.#changed(admin, state, checkpoint), signal) };
    };
    // Where another process has the slot, this one lets go of everything.
    const mayPass = (fault: PgsyncError) =>
      isTemporary(fault, fault.nextOnceConnected) && (this.hold === null || fault.code !== "SLOT_ACTIVE");
    return await patiently(read, toPgsyncError, (fault) => board.retry(fault), signal, mayPass);
  }
}

/** Why the following begins anew. */
interface Restart extends Remap {
  /** What ended it; none where the tables have changed. */
  readonly error?: PgsyncError;
}

function refuse([problem]: readonly PgsyncError[]): void {
  if (problem !== undefined) throw problem;
}
