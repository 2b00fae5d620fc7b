import { z } from "zod";
import { arrayLiteral } from "../postgres/array.ts";
import type { Session } from "../postgres/session.ts";
import type { QualifiedName } from "../schema/tree.ts";

/**
 * Who writes to tables just now, by their locks: whoever has written to a table holds one on it until he has committed, which others see by then. What
 * is prepared for a commit in two phases holds its locks, too.
 */

const xids = z.array(z.object({ xid: z.string() }));

/**
 * The ids of the transactions (`xid`, in decimal) that may have written to one of the tables, or to a partition of it, and are not over.
 *
 * @throws postgres.js' errors
 */
export async function readWriters(sql: Session, tables: readonly QualifiedName[]): Promise<string[]> {
  if (tables.length === 0) return [];
  const names = JSON.stringify(tables.map(({ schema, table }) => ({ schema, table })));
  const rows = await sql`
    WITH RECURSIVE tree(oid) AS (
      SELECT relation.oid
      FROM jsonb_to_recordset(${names}::text::jsonb) AS asked(schema text, "table" text)
      JOIN pg_catalog.pg_namespace AS namespace ON namespace.nspname = asked.schema
      JOIN pg_catalog.pg_class AS relation
        ON relation.relnamespace = namespace.oid AND relation.relname = asked."table"
      UNION
      SELECT inherits.inhrelid FROM tree JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhparent = tree.oid
    ), lock AS MATERIALIZED (
      -- Once, for it shows another moment each time.
      SELECT * FROM pg_catalog.pg_locks WHERE granted
    )
    SELECT DISTINCT own.transactionid::text AS xid
    FROM lock AS held
    JOIN tree ON tree.oid = held.relation
    -- Whoever has no id has written nothing.
    JOIN lock AS own ON own.locktype = 'transactionid' AND own.mode = 'ExclusiveLock'
      AND own.virtualtransaction = held.virtualtransaction
    WHERE held.locktype = 'relation'
      AND held.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
      AND held.mode NOT IN ('AccessShareLock', 'RowShareLock')`;
  return xids.parse(rows).map(({ xid }) => xid);
}

/** Whether one of these transactions is not over. @param writers as `readWriters` gives them @throws postgres.js' errors */
export async function isOneOpen(sql: Session, writers: readonly string[]): Promise<boolean> {
  // By the id: a transaction that is prepared changes its virtual one.
  const rows = await sql`
    SELECT FROM pg_catalog.pg_locks
    WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted
      AND transactionid::text = ANY (${arrayLiteral(writers)}::text::text[])
    LIMIT 1`;
  return rows.length > 0;
}
