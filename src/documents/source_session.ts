import { connectPostgres, type Sql } from "../postgres/connect.ts";
import { isTemporary, postgresError } from "../postgres/errors.ts";
import type { PostgresOptions } from "../postgres/options.ts";
import { PgsyncError } from "../errors/error.ts";
import { backoffDelay, delay } from "../retry/backoff.ts";

/** Waits between attempts while PostgreSQL is away: up to 0.2 s at first, up to 10 s later. */
const RETRY_LIMITS = { baseMs: 200, capMs: 10_000 };

/** How many sessions each kind of work may hold at once. */
export interface SessionLimits {
  /** Finding root keys (cursors that may stay open for long). */
  readonly lookups: number;
  /** Building the documents of keys. */
  readonly builders: number;
  /** Reading chunks of the initial load. */
  readonly loaders: number;
}

/**
 * The sessions that read documents and look up root keys in one database. Each kind of work has its own pool, so that
 * one can never wait for a session that another holds while it waits for the first.
 */
export class SourceSession implements AsyncDisposable {
  readonly lookups: Sql;
  readonly builders: Sql;
  readonly loaders: Sql;

  constructor(
    readonly options: PostgresOptions,
    readonly database: string,
    limits: SessionLimits,
  ) {
    const open = (purpose: string, max: number) =>
      connectPostgres(options, { database, purpose, max, kind: "builder" });
    this.lookups = open("lookup", limits.lookups);
    this.builders = open("build", limits.builders);
    this.loaders = open("load", limits.loaders);
  }

  /** Makes an error of ours of what a statement threw. */
  error(thrown: unknown, doing: string): PgsyncError {
    return postgresError(thrown, { options: this.options, database: this.database, doing });
  }

  /**
   * Runs work against PostgreSQL again and again while it fails for a temporary reason.
   *
   * @param work must be safe to repeat
   * @param doing completes "PostgreSQL refused to …"
   * @param onFault told of each failure that is followed by another attempt
   * @throws PgsyncError that is not temporary; the signal's reason
   */
  async untilDone<T>(
    work: () => Promise<T>,
    doing: string,
    onFault: (fault: PgsyncError) => void,
    signal: AbortSignal,
  ): Promise<T> {
    for (let attempt = 0;; attempt++) {
      signal.throwIfAborted();
      try {
        return await work();
      } catch (thrown) {
        signal.throwIfAborted();
        const error = this.error(thrown, doing);
        if (!isTemporary(error)) throw error;
        onFault(error);
        await delay(backoffDelay(attempt, RETRY_LIMITS), signal);
      }
    }
  }

  /** Closes all sessions; statements under way are cut off. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.lookups, this.builders, this.loaders].map((sql) => sql.end({ timeout: 0 })));
  }
}
