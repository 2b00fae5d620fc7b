import { PgsyncError } from "../errors/error.ts";
import { errorContext, type Sql } from "../postgres/connect.ts";
import type { Session } from "../postgres/session.ts";
import { postgresError, sqlStateOf } from "../postgres/errors.ts";
import { formatLsn, type Lsn, parseLsn } from "./lsn.ts";

/** Replication slots, over a normal connection (https://www.postgresql.org/docs/current/view-pg-replication-slots.html). */

/** What PostgreSQL says of a slot. */
export interface SlotState {
  readonly name: string;
  /** Null for a physical slot. */
  readonly plugin: string | null;
  /** Null for a physical slot. */
  readonly database: string | null;
  readonly temporary: boolean;
  readonly active: boolean;
  readonly activePid: number | null;
  /** The application name of the walsender; null where there is none, or where we may not see it. */
  readonly activeApplication: string | null;
  /** The oldest WAL that the slot keeps. */
  readonly restartLsn: Lsn | null;
  /** Everything before it was confirmed, and is never sent again. */
  readonly confirmedFlushLsn: Lsn | null;
  readonly walStatus: "reserved" | "extended" | "unreserved" | "lost" | null;
  /** Bytes of WAL that may still be written before the slot is in danger; null where there is no limit (max_slot_wal_keep_size). */
  readonly safeWalSize: bigint | null;
  /** Why the slot is lost (`wal_removed`, `rows_removed`, `idle_timeout` …); null before PostgreSQL 17. */
  readonly invalidationReason: string | null;
}

/** The name rule of PostgreSQL: lower case letters, digits and underscores, at most 63. */
export const SLOT_NAME = /^[a-z0-9_]{1,63}$/;

/**
 * Reads a slot's state; null where there is no such slot.
 *
 * @throws postgres.js' errors
 */
export async function inspectSlot(sql: Session, name: string): Promise<SlotState | null> {
  // The columns grow with the versions; asked for by JSON, a missing one is null instead of an error.
  const rows = await sql<SlotRow[]>`
    SELECT slot.slot_name::text AS name,
      slot.plugin::text AS plugin,
      slot.database::text AS database,
      slot.temporary::text AS temporary,
      slot.active::text AS active,
      slot.active_pid::text AS "activePid",
      activity.application_name AS "activeApplication",
      slot.restart_lsn::text AS "restartLsn",
      slot.confirmed_flush_lsn::text AS "confirmedFlushLsn",
      slot.wal_status AS "walStatus",
      slot.safe_wal_size::text AS "safeWalSize",
      to_jsonb(slot) ->> 'invalidation_reason' AS "invalidationReason"
    FROM pg_catalog.pg_replication_slots AS slot
    LEFT JOIN pg_catalog.pg_stat_activity AS activity ON activity.pid = slot.active_pid
    WHERE slot.slot_name = ${name}`;
  const row = rows[0];
  if (row === undefined) return null;
  return {
    name: row.name,
    plugin: row.plugin,
    database: row.database,
    temporary: row.temporary === "true",
    active: row.active === "true",
    activePid: row.activePid === null ? null : Number(row.activePid),
    activeApplication: row.activeApplication,
    restartLsn: row.restartLsn === null ? null : parseLsn(row.restartLsn),
    confirmedFlushLsn: row.confirmedFlushLsn === null ? null : parseLsn(row.confirmedFlushLsn),
    walStatus: row.walStatus,
    safeWalSize: row.safeWalSize === null ? null : BigInt(row.safeWalSize),
    invalidationReason: row.invalidationReason,
  };
}

interface SlotRow {
  readonly name: string;
  readonly plugin: string | null;
  readonly database: string | null;
  readonly temporary: string;
  readonly active: string;
  readonly activePid: string | null;
  readonly activeApplication: string | null;
  readonly restartLsn: string | null;
  readonly confirmedFlushLsn: string | null;
  readonly walStatus: SlotState["walStatus"];
  readonly safeWalSize: string | null;
  readonly invalidationReason: string | null;
}

/**
 * Whether nobody but these walsenders follows a slot.
 *
 * @param walsenders process ids
 * @throws PgsyncError as `postgresError`
 */
export async function isHeldBy(sql: Sql, name: string, walsenders: ReadonlySet<number>): Promise<boolean> {
  try {
    const pid = (await inspectSlot(sql, name))?.activePid ?? null;
    return pid === null || walsenders.has(pid);
  } catch (thrown) {
    throw postgresError(thrown, errorContext(sql, "tell who follows a slot"));
  }
}

/**
 * Refuses a slot that cannot be followed. An active one passes: see `slotActiveError`.
 *
 * @throws PgsyncError SLOT_MISSING, SLOT_MISMATCH, SLOT_LOST
 */
export function assertUsableSlot(
  slot: SlotState | null,
  name: string,
  database: string,
): asserts slot is SlotState {
  if (slot === null) throw new PgsyncError("SLOT_MISSING", `The replication slot "${name}" does not exist.`);
  if (slot.plugin !== "pgoutput") {
    const plugin = slot.plugin === null ? "is a physical one" : `uses the output plugin ${slot.plugin}`;
    throw new PgsyncError("SLOT_MISMATCH", `The replication slot "${name}" ${plugin}, not pgoutput.`);
  }
  if (slot.database !== database) {
    throw new PgsyncError(
      "SLOT_MISMATCH",
      `The replication slot "${name}" belongs to database "${slot.database}", not "${database}".`,
    );
  }
  if (slot.walStatus === "lost" || slot.invalidationReason !== null) {
    const reason = slot.invalidationReason === null ? "" : ` (${slot.invalidationReason})`;
    throw new PgsyncError(
      "SLOT_LOST",
      `PostgreSQL has removed WAL that the replication slot "${name}" still needed${reason}.`,
    );
  }
}

/** The error for a slot that somebody else follows, with the walsender's process id and application name. */
export function slotActiveError(name: string, slot: SlotState | null, cause?: unknown): PgsyncError {
  const application = slot?.activeApplication ? ` (${slot.activeApplication})` : "";
  const process = slot?.activePid ? `process ${slot.activePid}${application}` : "another process";
  return new PgsyncError("SLOT_ACTIVE", `The replication slot "${name}" is in use by ${process}.`, {
    remedy: slot?.activePid
      ? `Stop the other process; two may not follow one slot. If it is gone: SELECT pg_terminate_backend(${slot.activePid});`
      : "Stop the other process; two may not follow one slot.",
    cause,
  });
}

/**
 * Whether a slot has been confirmed beyond our position. We store a position before we confirm it, so it was somebody else, or
 * the position comes from an older copy of the checkpoint file.
 *
 * @param position null where none is stored: nothing can be said then
 * @returns CHECKPOINT_BEHIND, or null
 */
export function aheadError(name: string, confirmed: Lsn | null, position: Lsn | null): PgsyncError | null {
  if (position === null || confirmed === null || confirmed <= position) return null;
  return new PgsyncError(
    "CHECKPOINT_BEHIND",
    `The slot "${name}" has been confirmed up to ${formatLsn(confirmed)}, beyond the checkpoint file's ` +
      `${formatLsn(position)}: the file is an older copy, or somebody else has read the slot.`,
  );
}

/** What to create. */
export interface SlotRequest {
  readonly name: string;
  readonly database: string;
  /**
   * How long to wait for transactions that were open before, in milliseconds; 60,000 by default. A slot can begin only
   * where no older transaction is running, in any database of the server.
   */
  readonly waitLimitMs?: number;
}

/** The statement that creates a slot, as `plan` prints it. The name needs no quoting: see `SLOT_NAME`. */
export function createSlotSql(name: string, versionNumber: number): string {
  const failover = versionNumber < FAILOVER_SINCE ? "" : ", failover => true";
  return `SELECT pg_create_logical_replication_slot('${checkedName(name)}', 'pgoutput'${failover});`;
}

/**
 * Creates a slot and returns its consistent point: every transaction that commits after it will be streamed.
 *
 * @param sql an admin pool
 * @throws PgsyncError SLOT_MISMATCH where the name is taken or not allowed, SLOTS_EXHAUSTED, WAL_LEVEL, PRIVILEGE_MISSING; POSTGRES_BUSY
 *   with the process that holds the oldest transaction when the wait was too long, in which case nothing is left behind; else as `postgresError`
 */
export async function createSlot(sql: Sql, request: SlotRequest): Promise<Lsn> {
  const { name, waitLimitMs = 60_000 } = request;
  checkedName(name);
  try {
    return await sql.begin(async (transaction) => {
      // The wait for one transaction obeys lock_timeout, the wait for many of them statement_timeout.
      await transaction`
        SELECT set_config('lock_timeout', ${String(waitLimitMs)}, true),
          set_config('statement_timeout', ${String(waitLimitMs + 1000)}, true)`;
      const [server] = await transaction<{ version: number }[]>`
        SELECT current_setting('server_version_num')::int AS version`;
      const rows = (server?.version ?? 0) < FAILOVER_SINCE
        ? await transaction<{ lsn: string }[]>`
          SELECT lsn::text AS lsn FROM pg_catalog.pg_create_logical_replication_slot(${name}, 'pgoutput')`
        : await transaction<{ lsn: string }[]>`
          SELECT lsn::text AS lsn
          FROM pg_catalog.pg_create_logical_replication_slot(${name}, 'pgoutput', failover => true)`;
      return parseLsn(rows[0]?.lsn ?? "");
    });
  } catch (error) {
    throw await createSlotError(sql, name, waitLimitMs, error);
  }
}

/**
 * From this version on, standbys that ask for it (sync_replication_slots) keep copies of slots that are meant for it, and one that
 * is promoted can be followed on.
 */
const FAILOVER_SINCE = 170_000;

async function createSlotError(
  sql: Sql,
  name: string,
  waitLimitMs: number,
  error: unknown,
): Promise<PgsyncError> {
  switch (sqlStateOf(error)) {
    case "42710":
      return new PgsyncError("SLOT_MISMATCH", `A replication slot "${name}" exists already.`, {
        cause: error,
      });
    case "53400":
      return new PgsyncError(
        "SLOTS_EXHAUSTED",
        `PostgreSQL has no free replication slot for "${name}": all of max_replication_slots are in use.`,
        { cause: error },
      );
    case "55P03":
    case "57014": {
      const blocker = await oldestTransaction(sql);
      return new PgsyncError(
        "POSTGRES_BUSY",
        `The replication slot "${name}" could not be created within ${
          waitLimitMs / 1000
        } s, because ${blocker}.`,
        { remedy: "Wait until that transaction has ended, or end it, then try again.", cause: error },
      );
    }
    case "55000": {
      const level = await walLevel(sql);
      if (level !== "logical") {
        return new PgsyncError("WAL_LEVEL", `wal_level is ${level}, so PostgreSQL cannot stream changes.`, {
          cause: error,
        });
      }
    }
  }
  const known = postgresError(error, errorContext(sql, `create the replication slot "${name}"`));
  if (known.code !== "PRIVILEGE_MISSING") return known;
  const { user } = errorContext(sql).options;
  return new PgsyncError("PRIVILEGE_MISSING", known.message, {
    remedy: `Have a superuser run: ALTER ROLE "${user.replaceAll('"', '""')}" REPLICATION;`,
    cause: error,
  });
}

async function walLevel(sql: Session): Promise<string> {
  const rows = await sql<{ level: string }[]>`SELECT current_setting('wal_level') AS level`;
  return rows[0]?.level ?? "";
}

/** Who holds the oldest transaction with an id. pg_locks shows it to every role, pg_stat_activity only parts. */
async function oldestTransaction(sql: Session): Promise<string> {
  const running = await sql<{ pid: number; application: string | null; since: string | null }[]>`
    SELECT lock.pid, activity.application_name AS application,
      (now() - activity.xact_start)::interval(0)::text AS since
    FROM pg_catalog.pg_locks AS lock
    LEFT JOIN pg_catalog.pg_stat_activity AS activity ON activity.pid = lock.pid
    WHERE lock.locktype = 'transactionid' AND lock.mode = 'ExclusiveLock' AND lock.granted
      AND lock.pid IS NOT NULL AND lock.pid <> pg_backend_pid()
    ORDER BY age(lock.transactionid) DESC
    LIMIT 1`;
  const prepared = await sql<{ gid: string }[]>`
    SELECT gid FROM pg_catalog.pg_prepared_xacts ORDER BY prepared LIMIT 1`;
  const oldest = running[0];
  if (oldest !== undefined) {
    const application = oldest.application ? ` (${oldest.application})` : "";
    const since = oldest.since === null ? "" : `, open for ${oldest.since}`;
    return `process ${oldest.pid}${application} holds an older transaction${since}`;
  }
  const gid = prepared[0]?.gid;
  if (gid !== undefined) return `the prepared transaction '${gid}' is older`;
  return "an older transaction was open";
}

function checkedName(name: string): string {
  if (SLOT_NAME.test(name)) return name;
  throw new PgsyncError("SLOT_MISMATCH", `"${name}" cannot be the name of a replication slot.`, {
    remedy: "Use lower case letters, digits and underscores, at most 63, with --slot.",
  });
}
