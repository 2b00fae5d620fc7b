import { getLogger } from "@logtape/logtape";
import { readCatalog, readCatalogOn } from "../../catalog/read.ts";
import type { Catalog, Relation } from "../../catalog/types.ts";
import { ServerClock } from "../../documents/server_clock.ts";
import type { SourceClock } from "../../documents/source_clock.ts";
import { SourceSession } from "../../documents/source_session.ts";
import { StandbyClock } from "../../documents/standby_clock.ts";
import { PgsyncError } from "../../errors/error.ts";
import { connectPostgres, type Sql } from "../../postgres/connect.ts";
import { delayOrAbort } from "../../retry/backoff.ts";
import type { OnFault } from "../../retry/patience.ts";
import { isOfSearch } from "../../search/errors.ts";
import type { RequestOutcomes } from "../../search/health.ts";
import type { StatusBoard } from "../../status/status_board.ts";
import type { DatabaseState } from "../database_state.ts";
import type { RunOptions } from "../options.ts";

const logger = getLogger(["pgsync", "sync"]);

/** How often a replica is looked at, in case nothing else is asked of it. */
const REPLICA_LOOK_MS = 2_000;

/** What a row source works with. */
export interface RowSourceOptions {
  readonly run: Pick<RunOptions, "postgres" | "postgresReplica" | "bulkConcurrency" | "loadWorkers">;
  readonly state: Pick<DatabaseState, "database" | "mapping">;
  /** An admin pool of the primary's database. */
  readonly admin: Sql;
  readonly board: Pick<StatusBoard, "retry">;
  readonly health: RequestOutcomes;
}

/** Where a run reads the rows of one database: on the primary, or on a replica of it. */
export class RowSource implements AsyncDisposable {
  readonly session: SourceSession;
  readonly clock: SourceClock;
  /** Null where rows are read on the primary. */
  readonly #standby: StandbyClock | null = null;
  /** Where the storage of tables is described: where their rows are read. */
  readonly #catalog: Sql;

  constructor(private readonly options: RowSourceOptions) {
    const { run, state: { database, mapping } } = options;
    const { server } = mapping.catalog;
    const sessions = { lookups: 4, builders: run.bulkConcurrency + 1, loaders: run.loadWorkers };
    if (run.postgresReplica === null) {
      this.session = new SourceSession(run.postgres, database, sessions, null, server);
      this.clock = new ServerClock(this.session);
      this.#catalog = options.admin;
      return;
    }
    const replica = { options: run.postgresReplica, systemIdentifier: server.systemIdentifier };
    this.session = new SourceSession(run.postgres, database, sessions, replica, server);
    this.#standby = new StandbyClock(this.session, replica, this.onFault);
    this.clock = this.#standby;
    this.#catalog = connectPostgres(replica.options, {
      database,
      purpose: "describe",
      max: 1,
      kind: "admin",
    });
  }

  /** Tells of what failed and is tried again. What compares documents asks the search engine, too. */
  readonly onFault: OnFault = (fault) => {
    const { board, health, state } = this.options;
    const subject = `comparisons of ${state.database}`;
    if (isOfSearch(fault)) health.failed(subject, fault, new Date());
    board.retry(fault);
    if (isOfSearch(fault)) return () => health.succeeded(subject);
  };

  /** Why documents cannot be read from the replica; null where they can, or where there is none. */
  get problem(): string | null {
    return this.#standby?.problem ?? null;
  }

  /**
   * Reads the description of a table anew, as it is after all that the clock has waited for.
   *
   * @throws PgsyncError SOURCE_CHANGED where it is gone, REPLICA_BEHIND, REPLICA_UNFIT; postgres.js' errors; the signal's reason
   */
  async describe(relation: Relation, signal: AbortSignal): Promise<Relation> {
    const catalog = await this.#read(relation, signal);
    const found = catalog.relation(relation);
    if (found !== null) return found;
    throw new PgsyncError("SOURCE_CHANGED", `Table "${relation.schema}"."${relation.table}" is gone.`);
  }

  async #read(relation: Relation, signal: AbortSignal): Promise<Catalog> {
    const { admin } = this.options;
    if (this.#catalog === admin) return await readCatalog(admin, [relation]);
    const reserved = await this.#catalog.reserve();
    try {
      // A name may lead to several standbys, and to another one here than where the clock has asked.
      await this.clock.now(reserved, signal);
      return await readCatalogOn(reserved, [relation]);
    } finally {
      reserved.release();
    }
  }

  /** As `SourceSession.untilDone`. */
  async untilDone<T>(work: () => Promise<T>, doing: string, signal: AbortSignal): Promise<T> {
    return await this.session.untilDone(work, doing, this.onFault, signal);
  }

  /** Looks at the replica, where there is one, until the signal. @param onUnfit told that it is none any more */
  async watch(onUnfit: (error: PgsyncError) => void, signal: AbortSignal): Promise<void> {
    const standby = this.#standby;
    if (standby === null) return;
    while (!signal.aborted) {
      await delayOrAbort(REPLICA_LOOK_MS, signal);
      try {
        if (!signal.aborted) await standby.check();
      } catch (error) {
        if (error instanceof PgsyncError && error.code === "REPLICA_UNFIT") onUnfit(error);
        logger.debug("the replica could not be looked at: {error}", { error });
      }
    }
  }

  /** Closes all sessions; statements under way are cut off. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.session[Symbol.asyncDispose]();
    if (this.#catalog !== this.options.admin) await this.#catalog.end({ timeout: 0 });
  }
}
