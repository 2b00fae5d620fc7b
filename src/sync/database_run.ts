import { getLogger } from "@logtape/logtape";
import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { PgsyncError, toPgsyncError } from "../errors/error.ts";
import { connectPostgres, errorContext, type Sql } from "../postgres/connect.ts";
import { postgresError } from "../postgres/errors.ts";
import { patiently } from "../postgres/patience.ts";
import { formatLsn } from "../replication/lsn.ts";
import { dropSlot, type SlotState } from "../replication/slot.ts";
import { orAborted } from "../retry/abort.ts";
import { backoffDelay, delay } from "../retry/backoff.ts";
import type { DocumentSchema } from "../schema/tree.ts";
import { makeMissing } from "./bootstrap.ts";
import { checkpointPath } from "./checkpoint_path.ts";
import { slotName } from "./database_mapping.ts";
import { type DatabaseState, identityOf, readDatabase } from "./database_state.ts";
import { setupProblems } from "./setup_problems.ts";
import { asksForNewSlot, DatabaseSync, type DatabaseSyncOptions } from "./database_sync.ts";
import { documentSource, sourceChange } from "./document_source.ts";
import { materializedViews } from "./materialized_views.ts";
import { checkReplica } from "./replica_check.ts";
import type { Remap } from "./run_signals.ts";
import { sessionLimitWarning } from "./session_limits.ts";
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

/** What the runs of all databases share. */
export type SharedOptions = Pick<
  DatabaseSyncOptions,
  "run" | "board" | "search" | "requests" | "health" | "observe"
>;

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
  ) {
    this.#slotName = slotName(shared.run.slot, database);
  }

  /** @throws PgsyncError; the signal's reason where it is aborted before anything is followed */
  async run(control: DatabaseControl): Promise<void> {
    const { run, board } = this.shared;
    const { database } = this;
    const admin = connectPostgres(run.postgres, { database, purpose: "admin", max: 3, kind: "admin" });
    try {
      let state = await this.#read(admin, control.signal);
      refuse(setupProblems(state, run.bootstrap));
      for (const warning of state.mapping.warnings) board.warn(warning);
      const { role } = state.mapping.catalog.server;
      board.stand("session limits", await orAborted(sessionLimitWarning(admin, role), control.signal));
      if (run.postgresReplica !== null) {
        const { systemIdentifier } = state.mapping.catalog.server;
        const check = checkReplica({ options: run.postgresReplica, systemIdentifier }, database);
        await orAborted(check, control.signal);
      }
      using checkpoint = Checkpoint.open(checkpointPath(run, this.#slotName));
      checkIdentity(state, checkpoint);
      state = await this.#bootstrap(admin, state, checkpoint, control.signal);
      if (state.slot !== null) checkPosition(state.slot, checkpoint);
      checkpoint.adopt(identityOf(state));
      this.#forgetOthers(checkpoint);
      const refreshed = await this.#refreshViews(state, control.signal);
      if (refreshed.size > 0) {
        state = await this.#read(admin, control.signal);
        refuse(setupProblems(state, run.bootstrap));
      }
      let changed = await orAborted(this.#changed(admin, state, checkpoint), control.signal);
      // The server may not have counted yet what was written.
      for (const mapped of state.mapping.documents) {
        if (materializedViews([mapped]).some((view) => refreshed.has(view.oid))) changed.add(mapped);
      }
      for (let changes = 0;; changes++) {
        const began = performance.now();
        const keeper = new SourceKeeper(checkpoint);
        const sync = new DatabaseSync({ ...this.shared, state, admin, checkpoint, keeper, changed });
        const end = await sync.run(control).catch((error: unknown) =>
          this.#withoutSlot(admin, error, control.signal)
        );
        if (end === null) return;
        board.remapping = end.reason;
        logger.warn("{reason}", { reason: end.reason });
        if (performance.now() - began > STABLE_AFTER_MS) changes = 0;
        if (changes > 0) await delay(backoffDelay(changes, REMAP_LIMITS), control.signal);
        ({ state, changed } = await this.#readAnew(admin, checkpoint, control.signal));
      }
    } finally {
      await admin.end({ timeout: 1 });
    }
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

  async #bootstrap(
    admin: Sql,
    state: DatabaseState,
    checkpoint: Checkpoint,
    signal: AbortSignal,
  ): Promise<DatabaseState> {
    const { run, search } = this.shared;
    if (!run.bootstrap) return state;
    // A slot waits for older transactions; a run that is to end does not wait with it.
    const report = (line: string) => logger.info("{line}", { line });
    let made = state;
    for (let attempt = 0; attempt < BOOTSTRAP_ATTEMPTS; attempt++) {
      await orAborted(makeMissing(admin, made, checkpoint, search, report), signal);
      made = await this.#read(admin, signal);
      if (!made.mapping.identities.some((need) => need.lacksItself)) break;
    }
    return made;
  }

  /**
   * A slot that the server cannot decode for is of no use to anybody. Where a run makes what is missing, it is dropped; the new one begins
   * beyond what cannot be decoded, and the documents are loaded anew, for what lay between is told by nobody.
   *
   * @throws the error, where it is another one, or where nothing may be made
   */
  async #withoutSlot(admin: Sql, error: unknown, signal: AbortSignal): Promise<Remap> {
    const { run, board } = this.shared;
    if (!asksForNewSlot(run, error)) throw error;
    const remedy = "A new slot is made, and the documents are loaded anew.";
    board.retry("replication", new PgsyncError(error.code, error.message, { remedy, cause: error }));
    const drop = () => dropSlot(admin, this.#slotName);
    await patiently(drop, toPgsyncError, (fault) => board.retry("postgresql", fault), signal);
    return { reason: `The slot "${this.#slotName}" is given up, and the documents are loaded anew.` };
  }

  /** Reads the changed database, however long that takes. */
  async #readAnew(admin: Sql, checkpoint: Checkpoint, signal: AbortSignal) {
    const { run, board } = this.shared;
    const read = async () => {
      const found = await this.#read(admin, signal);
      refuse(setupProblems(found, run.bootstrap, true));
      const state = await this.#bootstrap(admin, found, checkpoint, signal);
      return { state, changed: await orAborted(this.#changed(admin, state, checkpoint), signal) };
    };
    return await patiently(read, toPgsyncError, (fault) => board.retry("postgresql", fault), signal);
  }
}

function refuse([problem]: readonly PgsyncError[]): void {
  if (problem !== undefined) throw problem;
}

/** @throws PgsyncError CHECKPOINT_FOREIGN */
function checkIdentity(state: DatabaseState, checkpoint: Checkpoint): void {
  // Without a slot there is nothing that the file could go on with; bootstrap empties it.
  if (state.slot !== null) checkpoint.checkIdentity(identityOf(state));
}

/** @throws PgsyncError CHECKPOINT_BEHIND */
function checkPosition(slot: SlotState, checkpoint: Checkpoint): void {
  const position = checkpoint.position();
  const confirmed = slot.confirmedFlushLsn;
  if (position === null) {
    if (checkpoint.identity() === null) {
      logger.warn(
        "the checkpoint file {path} is new, but the slot {slot} is not: going on from the slot's own position; " +
          "dead letters of before are not known, and a load that was not finished begins again",
        { path: checkpoint.path, slot: slot.name },
      );
    }
    return;
  }
  if (confirmed !== null && confirmed > position) {
    throw new PgsyncError(
      "CHECKPOINT_BEHIND",
      `The slot "${slot.name}" has been confirmed up to ${
        formatLsn(confirmed)
      }, beyond the checkpoint file's ` +
        `${formatLsn(position)}: the file is an older copy, or somebody else has read the slot.`,
    );
  }
}
