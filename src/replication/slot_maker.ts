import { PgsyncError } from "../errors/error.ts";
import type { Session } from "../postgres/session.ts";

/**
 * Of several processes that stand by, one makes the slot. While there is none, there is nothing else that could be held, so it is an advisory lock of the
 * database.
 */

/** With the hash of the slot's name the key of the lock: "pgsy" in ASCII. */
export const MAKING_LOCK_CLASS = 0x70677379;

/** Who keeps others from making a slot. */
export interface SlotMaker {
  /** The process id of the session that has the lock. */
  readonly pid: number;
  /** Its application name; null where we may not see it. */
  readonly application: string | null;
}

/**
 * Who makes a slot; null where nobody does.
 *
 * @param sql a session of the slot's database
 * @throws postgres.js' errors
 */
export async function inspectMaker(sql: Session, slot: string): Promise<SlotMaker | null> {
  // A key of two numbers (https://www.postgresql.org/docs/current/view-pg-locks.html); the hash may be negative, an OID is not.
  const [row] = await sql<SlotMaker[]>`
    SELECT lock.pid, activity.application_name AS application
    FROM pg_catalog.pg_locks AS lock
    LEFT JOIN pg_catalog.pg_stat_activity AS activity ON activity.pid = lock.pid
    WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 2
      AND lock.classid = ${MAKING_LOCK_CLASS}
      AND lock.objid = (pg_catalog.hashtext(${slot})::bigint & 4294967295)::oid
      AND lock.database = (
        SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
      )`;
  return row === undefined ? null : { pid: row.pid, application: row.application };
}

/** The error for a slot that another process makes. */
export function makerError(slot: string, { pid, application }: SlotMaker): PgsyncError {
  const process = `process ${pid}${application ? ` (${application})` : ""}`;
  return new PgsyncError("SLOT_ACTIVE", `The replication slot "${slot}" is being made by ${process}.`);
}
