import { getLogger } from "@logtape/logtape";
import { PgsyncError, toPgsyncError } from "../errors/error.ts";
import type { DocumentSchema } from "../schema/tree.ts";
import { connectSearch, type SearchClient } from "../search/client.ts";
import { SearchHealth } from "../search/health.ts";
import { Semaphore } from "../search/semaphore.ts";
import { byDatabase, slotName } from "./database_mapping.ts";
import { DatabaseRun } from "./database_run.ts";
import { DeadLetterDesk } from "./dead_letters/dead_letter_desk.ts";
import { type DeadLetterAccess, DeadLetters } from "./dead_letters/dead_letters.ts";
import type { RunOptions } from "./options.ts";
import { RecoveryLog } from "./recovery_log.ts";
import { patiently } from "../retry/patience.ts";
import { RunMemory } from "./run_memory.ts";
import { StandbyRun } from "./standby/standby_run.ts";
import { watchSearch } from "./search_watch.ts";
import type { RunStatus, SyncObserver } from "../status/status.ts";
import { StatusBoard } from "../status/status_board.ts";

const logger = getLogger(["pgsync", "sync"]);

/** How long documents that are tried again are waited for before the answer is that they are under way. */
const RETRY_WAIT_MS = 20_000;

/** How a run goes on and ends. */
export interface RunControl {
  /** An abort ends the run in good order: what is under way is finished, and the position stored. */
  readonly signal: AbortSignal;
  /** Go on streaming; otherwise the run ends when all is loaded and caught up. */
  readonly daemon: boolean;
}

/**
 * Follows every database of a schema file and keeps its indices equal.
 *
 * @example
 * ```ts
 * const stop = new AbortController();
 * const synchronizer = new Synchronizer(options, (event) => console.log(event.type));
 * await synchronizer.run({ signal: stop.signal, daemon: false });
 * ```
 */
export class Synchronizer {
  readonly #startedAt = new Date();
  readonly #boards: StatusBoard[] = [];
  readonly #recovery = new RecoveryLog(
    () => Math.max(...this.#boards.map((board) => board.lastLogged("search") ?? 0)),
    tellRecovery,
  );
  readonly #health = new SearchHealth((since) => this.#recovery.over(since.getTime(), Date.now()));
  readonly #memory: RunMemory;
  readonly #desks: ReadonlyMap<string, DeadLetterDesk>;
  /** The documents that were refused, while the run is under way. */
  readonly deadLetters: DeadLetterAccess;

  /**
   * Prepares a run; nothing is connected before `run`.
   *
   * @param options what to follow
   * @param observer hears what happens, as it happens
   */
  constructor(readonly options: RunOptions, private readonly observer: SyncObserver = () => {}) {
    const { documents } = options.schema;
    this.#memory = new RunMemory(options, documents.length, byDatabase(documents).size);
    this.#desks = new Map(
      [...byDatabase(documents).keys()].map((database) => [database, new DeadLetterDesk(database)]),
    );
    const places = documents.flatMap(({ index, database }) => {
      const desk = this.#desks.get(database);
      return desk === undefined ? [] : [[index, desk] as const];
    });
    this.deadLetters = new DeadLetters(new Map(places), RETRY_WAIT_MS);
  }

  /**
   * Loads and catches up; with `daemon` it goes on streaming until the signal.
   *
   * @throws PgsyncError what ends the run; the others of its databases are ended then, too
   */
  async run(control: RunControl): Promise<void> {
    const { options } = this;
    const databases = byDatabase(options.schema.documents);
    refuseShared(options);
    if (options.standby && !control.daemon) {
      throw new PgsyncError("USAGE", "A standby waits for its turn, so it has to stay.", {
        remedy: "Add --daemon.",
      });
    }
    for (const database of databases.keys()) {
      const board = new StatusBoard(database, slotName(options.slot, database), this.#health, this.observer);
      board.maxDeadLetters = options.maxDeadLetters;
      this.#boards.push(board);
    }
    const failed = new AbortController();
    const signal = AbortSignal.any([control.signal, failed.signal]);
    const requests = new Semaphore(options.bulkConcurrency);
    const over = new AbortController();
    const connecting = this.#connectSearch({ ...control, signal });
    // Each database waits for it where it is needed: WAL is watched, and what is wrong with the tables is told, also while it is away.
    void connecting.then((search) => this.#watchSearch(search, over.signal), () => {});
    try {
      const runs = [...databases].map(async ([database, documents], at) => {
        const board = this.#boards[at];
        const desk = this.#desks.get(database);
        if (board === undefined || desk === undefined) return;
        try {
          const shared = {
            run: options,
            board,
            desk,
            search: connecting,
            requests,
            memory: this.#memory,
            health: this.#health,
            observe: this.observer,
          };
          const follow = options.standby ? StandbyRun : DatabaseRun;
          await new follow(database, documents, shared).run({ ...control, signal });
        } catch (thrown) {
          failed.abort(thrown);
          if (control.signal.aborted && thrown === control.signal.reason) return;
          const error = toPgsyncError(thrown);
          board.halt(error);
          throw error;
        }
      });
      const results = await Promise.allSettled(runs);
      if (failed.signal.aborted && !control.signal.aborted) throw failed.signal.reason;
      for (const result of results) if (result.status === "rejected") throw result.reason;
    } finally {
      over.abort();
      // Where it has failed, that was told.
      const search = await connecting.catch(() => null);
      await search?.close();
    }
  }

  /**
   * A run that is to stay waits for a search engine that is away: whatever starts it again would give up after some starts, and
   * nobody would start it when the engine is back.
   *
   * @throws PgsyncError as `connectSearch`; the signal's reason
   */
  async #connectSearch({ signal, daemon }: RunControl): Promise<SearchClient> {
    const connect = () => connectSearch(this.options.search, signal);
    if (!daemon) return await connect();
    const search = await patiently(connect, toPgsyncError, (fault) => this.#onSilence(fault), signal);
    this.#health.answered();
    return search;
  }

  async #watchSearch(search: SearchClient, signal: AbortSignal): Promise<void> {
    await watchSearch({
      search,
      indices: () => this.#boards.flatMap((board) => board.indices().map(({ generation }) => generation)),
      health: this.#health,
      onAnswer: () => this.#onAnswer(),
      onSilence: (fault) => this.#onSilence(fault),
      onIndex: (index, fault) => {
        const about = `state of ${index}`;
        for (const board of this.#boards) {
          const isItsOwn = board.indices().some(({ generation }) => generation === index);
          board.stand(about, isItsOwn && fault !== null ? `${fault.message} ${fault.remedy}` : null);
        }
      },
    }, signal);
  }

  #onAnswer(): void {
    this.#health.answered();
    if (this.#health.state.healthy) this.#recovery.isWell(Date.now());
  }

  #onSilence(fault: PgsyncError): void {
    this.#health.silent(fault, new Date());
    for (const board of this.#boards) board.retry(fault);
  }

  /** A snapshot of the run. */
  status(): RunStatus {
    const databases = this.#boards.map((board) => board.snapshot());
    const notReady = databases.length === 0
      ? ["The run is starting."]
      : databases.flatMap((database) => database.notReady);
    const ready = notReady.length === 0;
    const standby = !ready && databases.length > 0 && databases.every((each) => each.ready || each.standby);
    const { status: memory } = this.#memory;
    return { startedAt: this.#startedAt, ready, standby, notReady, memory, databases };
  }
}

function tellRecovery(seconds: number): void {
  logger.info("the search engine takes documents again, after {seconds} s", { seconds: Math.round(seconds) });
}

/** Two documents cannot share an index, nor two databases a slot. @throws PgsyncError SCHEMA_INVALID, USAGE */
function refuseShared(options: RunOptions): void {
  const seen = new Map<string, DocumentSchema>();
  for (const document of options.schema.documents) {
    const other = seen.get(document.index);
    if (other !== undefined) {
      throw new PgsyncError(
        "SCHEMA_INVALID",
        `Databases "${other.database}" and "${document.database}" both write to the index "${document.index}".`,
        { remedy: "Give each document of the schema file an index of its own." },
      );
    }
    seen.set(document.index, document);
  }
  if (options.slot !== null && byDatabase(options.schema.documents).size > 1) {
    throw new PgsyncError(
      "USAGE",
      "One slot cannot serve several databases, so --slot needs a schema file with one.",
    );
  }
}
