import { connectPostgres, type Sql } from "../postgres/connect.ts";
import type { Session } from "../postgres/session.ts";
import { postgresError } from "../postgres/errors.ts";
import type { PostgresOptions } from "../postgres/options.ts";
import { onlyServer, type ServerIdentity } from "../postgres/server_identity.ts";
import { type OnFault, Patience, patiently } from "../retry/patience.ts";
import type { PgsyncError } from "../errors/error.ts";
import type { ServerMoment } from "./source_clock.ts";
import { behind, lookAtStandby, refuseUnfit, type Replica, replicaError } from "./standby_look.ts";

/** How many sessions each kind of work may hold at once. */
export interface SessionLimits {
  /** Finding root keys (sessions that may keep their rows for long). */
  readonly lookups: number;
  /** Building the documents of keys. */
  readonly builders: number;
  /** Reading chunks of the initial load. */
  readonly loaders: number;
}

/**
 * After so long the building of documents says that it waits for a lock, and asks again. To wait is right: what we hold ourselves
 * meanwhile is at most a COPY, which is given up where it is held back (`CopyWork`).
 */
const BUILD_LOCK_TIMEOUT = "5s";

/** Something to read with, until it is disposed of. */
export interface Lease extends Disposable {
  readonly sql: Session;
}

/** Decides what follows where work has failed. */
export interface SourcePatience {
  /** The work is done. */
  readonly succeeded: () => void;
  /**
   * The work has failed. Returns when it may be tried again, and PostgreSQL answers and shows everything before the moment.
   *
   * @throws PgsyncError that is not temporary; the signal's reason
   */
  readonly failed: (thrown: unknown, moment: ServerMoment | null) => Promise<void>;
}

/** What `SourceSession.primary` does at once, where it is a pool of its own: it looks, and writes messages. */
const PRIMARY_SESSIONS = 2;

/**
 * The sessions that read documents and look up root keys in one database: on the primary, or on a replica of it. Each kind
 * of work has its own pool, so that one can never wait for a session that another holds while it waits for the first.
 */
export class SourceSession implements AsyncDisposable {
  readonly lookups: Sql;
  readonly builders: Sql;
  readonly loaders: Sql;
  /** What has to be asked of, or written to, the primary. Where there is no replica, these are the builders. */
  readonly primary: Sql;

  /**
   * @param options the primary
   * @param replica where the three pools are to read instead; null: nowhere else
   * @param server the primary that all sessions there must come to; null: whichever it is
   */
  constructor(
    readonly options: PostgresOptions,
    readonly database: string,
    limits: SessionLimits,
    private readonly replica: Replica | null = null,
    server: ServerIdentity | null = null,
  ) {
    const admission = server === null ? {} : { admit: onlyServer(options, server) };
    const open = (purpose: string, max: number, lockTimeout = "0", at = replica?.options ?? options) =>
      connectPostgres(at, {
        ...{ database, purpose, max, kind: "builder", lockTimeout },
        // Which standby a session of a replica has come to, each lease asks.
        ...(at === options ? admission : {}),
      });
    this.lookups = open("lookup", limits.lookups);
    this.builders = open("build", limits.builders, BUILD_LOCK_TIMEOUT);
    this.loaders = open("load", limits.loaders);
    this.primary = replica === null ? this.builders : open("clock", PRIMARY_SESSIONS, "0", options);
  }

  /** Whether the reading pools ask a replica. */
  get hasReplica(): boolean {
    return this.replica !== null;
  }

  /** Makes an error of ours of what a statement of the reading pools threw. */
  error(thrown: unknown, doing: string): PgsyncError {
    const { database, options, replica } = this;
    return replica === null
      ? postgresError(thrown, { options, database, doing })
      : replicaError(thrown, { options: replica.options, database, doing });
  }

  /** Makes an error of ours of what a statement on the primary threw. */
  errorOfPrimary(thrown: unknown, doing: string): PgsyncError {
    return postgresError(thrown, { options: this.options, database: this.database, doing });
  }

  /**
   * Something to read with that shows everything before a moment. On the primary any session does. On a replica it is one
   * connection that was asked: it may have been opened to a server that has begun anew further back, or to another one.
   *
   * @param pool one of the reading pools
   * @param moment null: whatever it shows will do
   * @throws postgres.js' errors; PgsyncError REPLICA_BEHIND, REPLICA_UNFIT
   */
  async lease(pool: Sql, moment: ServerMoment | null): Promise<Lease> {
    if (this.replica === null || moment === null) return { sql: pool, [Symbol.dispose]: () => {} };
    const sql = await pool.reserve();
    try {
      const look = await lookAtStandby(sql);
      refuseUnfit(look, this.replica);
      const lag = behind(look, moment, this.replica);
      if (lag !== null) throw lag;
    } catch (thrown) {
      sql.release();
      throw thrown;
    }
    return { sql, [Symbol.dispose]: () => sql.release() };
  }

  /**
   * Runs work against PostgreSQL again and again while it fails for a temporary reason.
   *
   * @param work must be safe to repeat
   * @param doing completes "PostgreSQL refused to …"
   * @throws PgsyncError that is not temporary; the signal's reason
   */
  async untilDone<T>(
    work: () => Promise<T>,
    doing: string,
    onFault: OnFault,
    signal: AbortSignal,
  ): Promise<T> {
    return await patiently(work, (thrown) => this.error(thrown, doing), onFault, signal);
  }

  /**
   * For work that must not wait where it fails, because it holds memory: it gives that back, and then waits.
   *
   * @param doing completes "PostgreSQL refused to …"
   */
  patience(doing: string, onFault: OnFault, signal: AbortSignal): SourcePatience {
    const patience = new Patience((thrown) => this.error(thrown, doing), onFault, signal);
    return {
      succeeded: () => patience.succeeded(),
      failed: async (thrown, moment) => {
        await patience.failed(thrown);
        // Whoever comes back with memory in hand should not find the server away.
        const ask = async () => {
          using lease = await this.lease(this.builders, moment);
          await lease.sql.unsafe("SELECT 1");
        };
        await this.untilDone(ask, doing, onFault, signal);
      },
    };
  }

  /** Closes all sessions; statements under way are cut off. */
  async [Symbol.asyncDispose](): Promise<void> {
    const pools = new Set([this.lookups, this.builders, this.loaders, this.primary]);
    await Promise.all([...pools].map((sql) => sql.end({ timeout: 0 })));
  }
}
