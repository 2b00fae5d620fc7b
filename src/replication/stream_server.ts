import { z } from "zod";
import type { Sql } from "../postgres/connect.ts";
import { standbyError } from "../postgres/errors.ts";
import type { PostgresOptions } from "../postgres/options.ts";
import { quoteLiteral } from "../postgres/quote.ts";
import { type ServerIdentity, timelineOf, WAL_END, WAL_FILE, walFile } from "../postgres/server_identity.ts";
import { divergedError, divergence, type WalPosition } from "./history.ts";
import { type Lsn, parseLsn } from "./lsn.ts";
import { aheadError } from "./slot.ts";

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
  /** 0: none. */
  readonly position: Lsn;
  /** Left out: whichever it is. */
  readonly server?: ServerIdentity;
}

const serverRow = z.object({
  timeout: z.string(),
  version: z.string(),
  system: z.string(),
  lsn: z.string().nullable(),
  file: walFile.nullable(),
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
      ${WAL_END} AS lsn,
      ${WAL_FILE} AS file,
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
    place: lsn === null || file === null ? null : { timeline: timelineOf(file), lsn: parseLsn(lsn) },
    confirmed: confirmed === null ? null : parseLsn(confirmed),
    pid: Number(pid),
  };
}

/**
 * Refuses a server that cannot go on from the position: a standby, or one that holds an older state of itself. (Which server it is, the
 * login has asked: `onlyServer`.)
 *
 * @throws PgsyncError POSTGRES_UNREACHABLE, HISTORY_DIVERGED; CHECKPOINT_BEHIND where the slot was confirmed beyond the position
 */
export function refusePosition(
  { place, confirmed }: StreamServer,
  { server, options, slot, position }: ExpectedServer,
): void {
  if (place === null) throw standbyError(options);
  const reason = server === undefined
    ? null
    : divergence({ timeline: server.timeline, lsn: position }, place, []);
  if (reason !== null) throw divergedError(options, slot, reason);
  // Also between two sessions: whoever was frozen or cut off may have been replaced meanwhile.
  const ahead = aheadError(slot, confirmed, position === 0n ? null : position);
  if (ahead !== null) throw ahead;
}
