import { getLogger } from "@logtape/logtape";
import type { ServerFacts } from "../catalog/types.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { ErrorCode } from "../errors/codes.ts";
import { PgsyncError, toPgsyncError } from "../errors/error.ts";
import { connectPostgres, type Sql } from "../postgres/connect.ts";
import { standbyError } from "../postgres/errors.ts";
import { watchLink } from "../postgres/link_watch.ts";
import { oneServer } from "../postgres/server_identity.ts";
import { orAborted } from "../retry/abort.ts";
import { backoffDelay, delay } from "../retry/backoff.ts";
import { isTemporary, patiently } from "../retry/patience.ts";
import type { DocumentSchema } from "../schema/tree.ts";
import type { SearchClient } from "../search/client.ts";
import { isOfSearch } from "../search/errors.ts";
import { changedDocuments } from "./source/changed_documents.ts";
import { checkpointPath } from "./setup/checkpoint_path.ts";
import { slotName } from "./database_mapping.ts";
import {
  type DatabaseState,
  identityAt,
  identityOf,
  readDatabase,
  unpublishedTables,
} from "./database_state.ts";
import { DatabaseSync, type DatabaseSyncOptions } from "./database_sync.ts";
import { DeadLetterLimit } from "./dead_letters/dead_letter_limit.ts";
import { holdOn } from "./slot/hold_on.ts";
import { readFirst } from "./setup/first_read.ts";
import { materializedViews } from "./source/materialized_views.ts";
import { openPatiently } from "./setup/open_checkpoint.ts";
import { Preparation, refuse, refuseSetup } from "./setup/preparation.ts";
import { checkReplica } from "./source/replica_check.ts";
import { type Restart, restartAfter } from "./slot/restart.ts";
import { sessionLimitWarning } from "./session_limits.ts";
import { setupProblems } from "./setup/setup_problems.ts";
import { isCarried, type Loss, recordDivergence, standsByAfter } from "./slot/slot_loss.ts";
import type { SlotClaim } from "./slot/slot_claim.ts";
import { checkBelonging } from "./slot/slot_position.ts";
import { SlotWatch } from "./slot/slot_watch.ts";
import { SourceKeeper } from "./source/source_keeper.ts";
import { ViewRefresher } from "./source/view_refresher.ts";

const logger = getLogger(["pgsync", "sync"]);

/** Tables that change again and again are mapped anew with growing pauses. */
const REMAP_LIMITS = { baseMs: 500, capMs: 30_000 };
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
  readonly #preparation: Preparation;
  /** All its sessions lead to one server. After an end it is opened anew. */
  #admin: Sql;
  /** What the run was ended by, where only that tells of a loss; until the file has noted it. */
  #carried: PgsyncError | null = null;
  /** The process ids of the sessions that the slot was asked for with. */
  readonly #walsenders: Set<number>;
  /** The beginning of the session that holds the slot after the following has ended; null before that. */
  #holding: Promise<void> | null = null;

  constructor(
    private readonly database: string,
    private readonly documents: readonly DocumentSchema[],
    private readonly shared: SharedOptions,
    /** Where other processes may stand by for the slot: in their turn with this one, which begins when the slot is held. */
    private readonly hold: SlotClaim | null = null,
  ) {
    const { run, search } = shared;
    this.#walsenders = hold?.walsenders ?? new Set();
    this.#slotName = slotName(run.slot, database);
    this.#preparation = new Preparation({
      run,
      search,
      hold,
      report: (line) => logger.info("{line}", { line }),
      onLoss: (loss, sentence) => this.#tellLoss(loss, sentence),
    });
    this.#admin = this.#connect();
  }

  /** Looks whether a run could be started, and writes nothing. @returns what it found; @throws PgsyncError; the signal's reason */
  async check(signal: AbortSignal): Promise<DatabaseState> {
    try {
      const state = await this.#read(signal);
      refuseSetup(state, this.shared.run);
      return state;
    } finally {
      await this.#admin.end({ timeout: 1 });
    }
  }

  /** @throws PgsyncError; the signal's reason where it is aborted before anything is followed */
  async run(wanted: DatabaseControl): Promise<void> {
    const { run, board, desk } = this.shared;
    const { hold } = this;
    // Until it is followed, nothing is written but by whoever holds the slot.
    const signal = hold === null ? wanted.signal : AbortSignal.any([wanted.signal, hold.lost]);
    const control = { ...wanted, signal };
    const over = new AbortController();
    try {
      let state = await this.#readFirst(control.signal);
      this.#watchLinks(over.signal);
      const began = performance.now();
      using checkpoint = await openPatiently(checkpointPath(run, this.#slotName), control.signal);
      const loss = await this.#preparation.judge(this.#admin, state, checkpoint, control.signal);
      await this.#look(state, control.signal);
      using _watch = this.#watchSlot();
      const search = await orAborted(this.shared.search, control.signal);
      const isFresh = performance.now() - began < FRESH_FOR_MS;
      using _ = desk.opened(checkpoint);
      const limit = this.#deadLetterLimit(checkpoint, control.daemon);
      checkpoint.onDeadLetters = () => limit.check();
      state = await this.#prepareFirst(isFresh ? { state, loss } : null, checkpoint, control);
      checkpoint.adopt(identityOf(state));
      this.#forgetOthers(checkpoint);
      const refreshed = await this.#refreshViews(state, control.signal);
      if (refreshed.size > 0) {
        state = await this.#read(control.signal);
        refuse(setupProblems(state, run.bootstrap));
      }
      let changed = await orAborted(changedDocuments(this.#admin, state, checkpoint), control.signal);
      // The server may not have counted yet what was written.
      for (const mapped of state.mapping.documents) {
        if (materializedViews([mapped]).some((view) => refreshed.has(view.oid))) changed.add(mapped);
      }
      for (let changes = 0;; changes++) {
        const began = performance.now();
        const keeper = new SourceKeeper(checkpoint);
        const options = { ...this.shared, search, state, admin: this.#admin, walsenders: this.#walsenders };
        const held = await hold?.take(checkpoint.position() ?? 0n, identityOf(state), control.signal) ?? null;
        const going = AbortSignal.any([control.signal, over.signal]);
        this.#holding = null;
        const holdAgain = () => this.#holding ??= this.#holdOn(options.state, checkpoint, going);
        const onLetGo = () => void holdAgain().catch(() => {});
        const sync = new DatabaseSync({ ...options, checkpoint, keeper, changed, limit, held, onLetGo });
        const end: Restart | null = await sync.run(wanted)
          .catch((error: unknown) => this.#goOnAfter(error, checkpoint));
        if (end === null) return;
        board.remapping = end.reason;
        if (end.fault !== undefined) board.retry(end.fault);
        else logger.warn("{reason}", { reason: end.reason });
        if (performance.now() - began > STABLE_AFTER_MS) changes = 0;
        // Before all waiting: others take a slot that is free for 2 s.
        await holdAgain();
        if (changes > 0) await delay(backoffDelay(changes, REMAP_LIMITS), control.signal);
        ({ state, changed } = await this.#readAnew(checkpoint, end.error ?? null, control.signal));
      }
    } finally {
      over.abort();
      await this.#admin.end({ timeout: 1 });
    }
  }

  /** Holds the slot while the database is read anew, where others stand by for it. @throws PgsyncError as `holdOn`; the signal's reason */
  async #holdOn(state: DatabaseState, checkpoint: Checkpoint, signal: AbortSignal): Promise<void> {
    const { hold: claim } = this;
    if (claim === null) return;
    const onWait = (fault: PgsyncError) => this.shared.board.retry(fault, "replication");
    const [position, server] = [checkpoint.position() ?? 0n, identityOf(state)];
    await holdOn({ claim, admin: this.#admin, slotName: this.#slotName, position, server, onWait }, signal);
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
    return connectPostgres(postgres, {
      ...{ database: this.database, purpose: "admin", max: 3, kind: "admin" },
      admit: oneServer(postgres),
    });
  }

  /** Its sessions may still be those of the server before. */
  async #reconnect(): Promise<void> {
    await this.#admin.end({ timeout: 0 });
    this.#admin = this.#connect();
  }

  /** For as long as the run lasts: what waits for an answer may do so anywhere in it. */
  #watchLinks(signal: AbortSignal): void {
    const { run, board } = this.shared;
    const { database } = this;
    for (const options of new Set([run.postgres, run.postgresReplica ?? run.postgres])) {
      void watchLink({ options, database, onSilence: (fault) => board.retry(fault) }, signal);
    }
  }

  /** What is told of the server, and what the replica says of itself, before anything is made. */
  async #look({ mapping }: DatabaseState, signal: AbortSignal): Promise<void> {
    const { run, board } = this.shared;
    for (const warning of mapping.warnings) board.warn(warning);
    const { role, systemIdentifier } = mapping.catalog.server;
    board.stand("session limits", await orAborted(sessionLimitWarning(this.#admin, role), signal));
    if (run.postgresReplica === null) return;
    const replica = { options: run.postgresReplica, systemIdentifier };
    await orAborted(checkReplica(replica, this.database), signal);
  }

  #watchSlot(): SlotWatch {
    const { board, run } = this.shared;
    const [slotName, mostRetainedBytes] = [this.#slotName, run.walWarningBytes];
    return new SlotWatch({ admin: () => this.#admin, slotName, board, mostRetainedBytes });
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
  async #read(signal: AbortSignal, onServer?: (server: ServerFacts) => void): Promise<DatabaseState> {
    const { database, documents } = this;
    return await orAborted(readDatabase(this.#admin, database, documents, this.#slotName, onServer), signal);
  }

  async #readFirst(signal: AbortSignal): Promise<DatabaseState> {
    const { database, documents, shared: { run } } = this;
    const path = checkpointPath(run, this.#slotName);
    // Whoever stood by has seen the primary: its name leads elsewhere for a while.
    const onStandby = this.hold === null ? null : standbyError(run.postgres);
    const wanted = {
      database,
      documents,
      slotName: this.#slotName,
      path,
      bootstrap: run.bootstrap,
      onStandby,
    };
    return await orAborted(readFirst(this.#admin, wanted), signal);
  }

  /** Reads it after whatever may have led elsewhere: of a standby, or another cluster, nothing is believed. @throws PgsyncError */
  async #readAgain(checkpoint: Checkpoint, mayBeNew: boolean, signal: AbortSignal): Promise<DatabaseState> {
    return await this.#read(signal, (server) => {
      if (server.inRecovery) throw standbyError(this.shared.run.postgres);
      checkBelonging(identityAt(server, this.database, this.#slotName), checkpoint, mayBeNew);
    });
  }

  /** Refreshes the materialised views before anything is read of them. @returns those whose rows may have changed */
  async #refreshViews(state: DatabaseState, signal: AbortSignal): Promise<ReadonlySet<number>> {
    await using refresher = new ViewRefresher({ ...this.shared, state });
    return await orAborted(refresher.refresh(signal), signal);
  }

  /**
   * Carries out what a start was judged to need. A run that is to stay waits for a search engine that has only begun to start, or is away again,
   * and for PostgreSQL, which may be away by then, or another server.
   *
   * @param judged null: it has to be read and judged anew
   */
  async #prepareFirst(
    judged: { readonly state: DatabaseState; readonly loss: Loss | null } | null,
    checkpoint: Checkpoint,
    { signal, daemon }: DatabaseControl,
  ): Promise<DatabaseState> {
    const { health, board, run } = this.shared;
    let known = judged;
    let hasWaited = judged === null;
    // Its sessions may be those of a server that is gone.
    let isStale = false;
    const prepare = async () => {
      if (isStale) await this.#reconnect();
      isStale = false;
      // After a wait the tables may be others, and part of what is missing may be made already.
      const state = known?.state ?? await this.#readAgain(checkpoint, run.bootstrap, signal);
      const loss = known === null
        ? await this.#preparation.judge(this.#admin, state, checkpoint, signal)
        : known.loss;
      known = null;
      return await this.#preparation.carryOut(this.#admin, state, loss, checkpoint, signal);
    };
    if (!daemon) return await prepare();
    // A start that PostgreSQL has in its way from the beginning is told at once. What has waited goes on like a run that is under way.
    const mayWait = (fault: PgsyncError) =>
      hasWaited ? this.#mayPass(fault) : isOfSearch(fault) ? isTemporary(fault) : GONE.has(fault.code);
    using told = health.part();
    const onFault = (fault: PgsyncError) => {
      hasWaited = true;
      isStale = !isOfSearch(fault);
      if (!isStale) told.failed(`indices of ${this.database}`, fault, new Date());
      board.retry(fault);
    };
    return await patiently(prepare, toPgsyncError, onFault, signal, mayWait);
  }

  /** Once, also where what follows has to be tried again: the search engine may be away for hours. */
  #tellLoss(loss: PgsyncError, sentence: string): void {
    const { board } = this.shared;
    this.#carried = null;
    if (board.remapping === sentence) return;
    const remedy = "A new slot is made, and the documents are loaded anew in place.";
    board.retry(new PgsyncError(loss.code, loss.message, { remedy, cause: loss }), "replication");
    logger.warn("{sentence}", { sentence, code: loss.code });
    board.remapping = sentence;
  }

  /**
   * How the run goes on after an error that ended the following.
   *
   * @throws the error, where it does not
   */
  #goOnAfter(error: unknown, checkpoint: Checkpoint): Restart {
    if (!(error instanceof PgsyncError)) throw error;
    recordDivergence({ error, byName: false }, checkpoint);
    if (this.hold !== null && standsByAfter(error)) throw error;
    return restartAfter(error, this.shared.run);
  }

  /**
   * Looks anew at the database, whichever server has it by now, however long that takes; mends what is lost.
   *
   * @param error what the run was ended by; null: its tables have changed
   */
  async #readAnew(checkpoint: Checkpoint, error: PgsyncError | null, signal: AbortSignal) {
    const { board } = this.shared;
    let isFresh = error === null;
    this.#carried = error !== null && isCarried(error) ? error : null;
    if (error?.code === "SERVER_CHANGED") this.#walsenders.clear();
    const read = async () => {
      if (!isFresh) await this.#reconnect();
      isFresh = false;
      const found = await this.#readAgain(checkpoint, false, signal);
      // A publication that somebody has only changed is for him to mend. (One that was made anew is there by now, and the stream tells of it.)
      if (error?.code === "PUBLICATION_MISSING" && !isCarried(error) && isChanged(found)) throw error;
      const going = { carried: this.#carried, walsenders: this.#walsenders };
      const loss = await this.#preparation.judge(this.#admin, found, checkpoint, signal, going);
      const state = await this.#preparation.carryOut(this.#admin, found, loss, checkpoint, signal, going);
      checkpoint.adopt(identityOf(state));
      return { state, changed: await orAborted(changedDocuments(this.#admin, state, checkpoint), signal) };
    };
    return await patiently(
      read,
      toPgsyncError,
      (fault) => board.retry(fault),
      signal,
      (fault) => this.#mayPass(fault),
    );
  }

  /** Whether it may be another time, with new sessions, after it was connected once. */
  #mayPass(fault: PgsyncError): boolean {
    // Where another process has the slot, this one lets go of everything.
    if (this.hold !== null && fault.code === "SLOT_ACTIVE") return false;
    return isTemporary(fault, fault.nextOnceConnected) || PASSING.has(fault.code);
  }
}

/** Whether the publication is there, and lacks something. */
function isChanged(state: DatabaseState): boolean {
  return state.publication !== null && unpublishedTables(state).length > 0;
}

/** The server is away, or another one. */
const GONE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["SERVER_CHANGED", "POSTGRES_UNREACHABLE"]);

/** What passes when all sessions are opened anew. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["SERVER_CHANGED"]);
