import { PgsyncError } from "../errors/error.ts";
import { errorContext, type Sql } from "../postgres/connect.ts";
import type { Session } from "../postgres/session.ts";
import { postgresError, sqlStateOf } from "../postgres/errors.ts";
import { type QualifiedName, quoteQualified } from "../postgres/quote.ts";
import { delay } from "../retry/backoff.ts";
import {
  describePublication,
  missingTables,
  type PublicationRequest,
  publicationSql,
} from "./publication.ts";

/** How long one try waits for a lock. Writers queue behind it, and a deadlock is looked for after 1 s by default. */
const SHORT_WAIT_MS = 500;
/** Every fourth try waits longer: an autovacuum gives way only to somebody who has waited for `deadlock_timeout`. */
const LONG_WAIT_MS = 2_000;
const PAUSE_MS = 250;

/** What to change. */
export interface PublicationChange extends PublicationRequest {
  /** How long to wait for transactions that have written to the tables, in milliseconds; 60,000 by default. */
  readonly waitLimitMs?: number;
}

/**
 * Alters a publication that a slot is already read with, at a moment when no transaction is writing to the tables that are new in it.
 *
 * A transaction that wrote to a table before it was published may commit long after: its rows are then neither in the
 * stream nor in what a load reads before that commit. So the statements run while the tables are locked against writers, in
 * one transaction with the lock. That is better than to wait, once the statements are committed, for the transactions
 * that were running: whoever is interrupted in that wait, or loses patience, leaves a publication that looks complete.
 *
 * @returns the statements that were run; none where nothing had to be changed
 * @throws PgsyncError POSTGRES_BUSY with who has written, when the wait was too long, in which case nothing is changed;
 * PRIVILEGE_MISSING; else as `postgresError`
 */
export async function changePublication(sql: Sql, change: PublicationChange): Promise<string[]> {
  const { waitLimitMs = 60_000 } = change;
  const deadline = performance.now() + waitLimitMs;
  for (let tries = 1;; tries++) {
    try {
      return await tryToChange(sql, change, tries % 4 === 0 ? LONG_WAIT_MS : SHORT_WAIT_MS);
    } catch (error) {
      const sqlState = sqlStateOf(error);
      // No lock in time, or a deadlock that was decided against us.
      if (sqlState !== "55P03" && sqlState !== "40P01") {
        throw postgresError(error, errorContext(sql, `alter the publication "${change.name}"`));
      }
      if (performance.now() > deadline) {
        throw new PgsyncError(
          "POSTGRES_BUSY",
          `The publication "${change.name}" could not be altered within ${
            waitLimitMs / 1000
          } s, because ${await writer(
            sql,
            change.tables,
          )}.`,
          { remedy: "Wait until that transaction has ended, or end it, then try again.", cause: error },
        );
      }
    }
    await delay(PAUSE_MS);
  }
}

/** The statement that keeps writers of the tables (and of their partitions) away until the transaction ends. */
export function lockSql(tables: readonly QualifiedName[]): string {
  // The weakest lock that INSERT, UPDATE, DELETE and another of its kind conflict with.
  return `LOCK TABLE ${tables.map(quoteQualified).join(", ")} IN SHARE ROW EXCLUSIVE MODE;`;
}

async function tryToChange(sql: Sql, change: PublicationChange, waitMs: number): Promise<string[]> {
  return await sql.begin(async (transaction) => {
    const before = await describePublication(transaction, change.name, change.version);
    const statements = publicationSql(before, change);
    const lacking = missingTables(before, change.tables);
    await transaction`SELECT set_config('lock_timeout', ${String(waitMs)}, true)`;
    if (lacking.length > 0) await transaction.unsafe(lockSql(lacking));
    for (const statement of statements) await transaction.unsafe(statement);
    return statements;
  });
}

/** Who holds a lock on one of the tables that keeps us away. Its sentence completes "because …". */
async function writer(sql: Session, tables: readonly QualifiedName[]): Promise<string> {
  const names = JSON.stringify(tables.map(({ schema, table }) => ({ schema, table })));
  const rows = await sql<
    {
      pid: number | null;
      application: string | null;
      since: string | null;
      table: string;
      gid: string | null;
    }[]
  >`
    WITH RECURSIVE tree(oid) AS (
      SELECT relation.oid
      FROM jsonb_to_recordset(${names}::text::jsonb) AS asked(schema text, "table" text)
      JOIN pg_catalog.pg_namespace AS namespace ON namespace.nspname = asked.schema
      JOIN pg_catalog.pg_class AS relation
        ON relation.relnamespace = namespace.oid AND relation.relname = asked."table"
      UNION
      SELECT inherits.inhrelid FROM tree JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhparent = tree.oid
    )
    SELECT lock.pid, activity.application_name AS application,
      (now() - activity.xact_start)::interval(0)::text AS since,
      lock.relation::regclass::text AS "table", prepared.gid
    FROM pg_catalog.pg_locks AS lock
    JOIN tree ON tree.oid = lock.relation
    LEFT JOIN pg_catalog.pg_stat_activity AS activity ON activity.pid = lock.pid
    -- What a prepared transaction holds is shown under its transaction id.
    LEFT JOIN pg_catalog.pg_prepared_xacts AS prepared
      ON lock.pid IS NULL AND lock.virtualtransaction = '-1/' || prepared.transaction::text
    WHERE lock.locktype = 'relation' AND lock.granted AND lock.pid IS DISTINCT FROM pg_backend_pid()
      AND lock.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
      AND lock.mode NOT IN ('AccessShareLock', 'RowShareLock')
    ORDER BY activity.xact_start NULLS FIRST
    LIMIT 1`;
  const [holder] = rows;
  if (holder === undefined) return "its tables were being written to";
  if (holder.pid === null) {
    return `the prepared transaction${
      holder.gid === null ? "" : ` '${holder.gid}'`
    } has written to ${holder.table}`;
  }
  const application = holder.application ? ` (${holder.application})` : "";
  const since = holder.since === null ? "" : `, open for ${holder.since}`;
  return `process ${holder.pid}${application} holds a lock on ${holder.table}${since}`;
}
