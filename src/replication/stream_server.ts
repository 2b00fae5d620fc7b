import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import type { Sql } from "../postgres/connect.ts";
import { standbyError } from "../postgres/errors.ts";
import type { PostgresOptions } from "../postgres/options.ts";
import { quoteLiteral } from "../postgres/quote.ts";
import { addressOf } from "../postgres/socket.ts";
import { divergedError, divergence, timelineError, type WalPosition } from "./history.ts";
import { type Lsn, parseLsn } from "./lsn.ts";
import { aheadError } from "./slot.ts";

/** Tells one server from another, and what it was from what it became. */
export interface ServerIdentity {
  /** In decimal. */
  readonly systemIdentifier: string;
  readonly timeline: number;
}

/** What a session of the stream has to know of its server before it begins. */
export interface StreamServer {
  readonly walSenderTimeoutMs: number;
  readonly versionNumber: number;
  readonly systemIdentifier: string;
  /** The end of the WAL; null on a standby. */
  readonly place: WalPosition | null;
  /** How far the slot has been confirmed; null where there is none. */
  readonly confirmed: Lsn | null;
  /** The process id of the walsender. */
  readonly pid: number;
}

/** The server that a stream is to be read from. */
interface ExpectedServer {
  readonly options: PostgresOptions;
  readonly slot: string;
  readonly startLsn: Lsn;
  /** Left out: whichever it is. */
  readonly server?: ServerIdentity;
}

const serverRow = z.object({
  timeout: z.string(),
  version: z.string(),
  system: z.string(),
  lsn: z.string().nullable(),
  file: z.string().nullable(),
  confirmed: z.string().nullable(),
  pid: z.string(),
});

/**
 * Asks the replication connection itself: a role's or a session's own wal_sender_timeout counts, and no other server can answer.
 *
 * @throws postgres.js' errors
 */
export async function readStreamServer(sql: Sql, slot: string): Promise<StreamServer> {
  // A replication connection takes no parameters.
  const rows = await sql.unsafe(`
    SELECT timeout.setting AS timeout, version.setting AS version,
      (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system,
      CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_flush_lsn()::text END AS lsn,
      CASE WHEN NOT pg_catalog.pg_is_in_recovery()
        THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_flush_lsn()) END AS file,
      (SELECT confirmed_flush_lsn::text FROM pg_catalog.pg_replication_slots
        WHERE slot_name = ${quoteLiteral(slot)}) AS confirmed,
      pg_catalog.pg_backend_pid()::text AS pid
    FROM pg_catalog.pg_settings AS timeout, pg_catalog.pg_settings AS version
    WHERE timeout.name = 'wal_sender_timeout' AND version.name = 'server_version_num'`);
  const { timeout, version, system, lsn, file, confirmed, pid } = serverRow.parse(rows[0]);
  return {
    walSenderTimeoutMs: Number(timeout),
    versionNumber: Number(version),
    systemIdentifier: system,
    place: lsn === null || file === null
      ? null
      // The name of a WAL file begins with the timeline in hexadecimal.
      : { timeline: Number.parseInt(file.slice(0, 8), 16), lsn: parseLsn(lsn) },
    confirmed: confirmed === null ? null : parseLsn(confirmed),
    pid: Number(pid),
  };
}

/**
 * Refuses a server that is not, or not yet, the one to which the position belongs: during a failover its name may lead to a
 * standby, or to one that was promoted, after a restore to an older state of itself.
 *
 * @throws PgsyncError POSTGRES_UNREACHABLE, SERVER_CHANGED, HISTORY_DIVERGED; CHECKPOINT_BEHIND where the slot was confirmed beyond the position
 */
export function refuseOther(found: StreamServer, expected: ExpectedServer): void {
  if (found.place === null) throw standbyError(expected.options);
  refuseHistory(found, found.place, expected);
  // Also between two sessions: whoever was frozen or cut off may have been replaced meanwhile.
  const { slot, startLsn } = expected;
  const ahead = aheadError(slot, found.confirmed, startLsn === 0n ? null : startLsn);
  if (ahead !== null) throw ahead;
}

function refuseHistory(found: StreamServer, place: WalPosition, expected: ExpectedServer): void {
  const { server, options, slot, startLsn } = expected;
  if (server === undefined) return;
  if (found.systemIdentifier !== server.systemIdentifier) {
    throw new PgsyncError(
      "SERVER_CHANGED",
      `PostgreSQL at ${
        addressOf(options)
      } is another cluster now: its system identifier is ${found.systemIdentifier}, and was ` +
        `${server.systemIdentifier}.`,
    );
  }
  if (place.timeline !== server.timeline) {
    throw timelineError(options, place.timeline, server.timeline);
  }
  const reason = divergence({ timeline: server.timeline, lsn: startLsn }, place, []);
  if (reason !== null) throw divergedError(slot, reason);
}
