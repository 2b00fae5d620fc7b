import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import { connectPostgres, errorContext, type Sql } from "../postgres/connect.ts";
import { postgresError, standbyError } from "../postgres/errors.ts";
import type { PostgresOptions } from "../postgres/options.ts";
import {
  onlyServer,
  type ServerIdentity,
  timelineOf,
  WAL_END,
  WAL_FILE,
  walFile,
} from "../postgres/server_identity.ts";
import { addressOf } from "../postgres/socket.ts";
import { formatLsn, type Lsn, parseLsn } from "./lsn.ts";

/**
 * Whether a position belongs to the WAL that a server has. It need not: a standby was promoted that had not received all
 * that was streamed, or an older state of the server was restored. A slot would then be read from a place that means
 * something else there, and what was committed before it would never be told.
 */

/** A place in the WAL of a cluster. */
export interface WalPosition {
  /** It grows with each promotion, and each restore to a point in time. */
  readonly timeline: number;
  readonly lsn: Lsn;
}

/** The end of a timeline from which the server's own descends. */
export interface TimelineEnd {
  readonly timeline: number;
  /** Where the next one begins. */
  readonly endLsn: Lsn;
}

const walEndRow = z.tuple([z.string().nullable(), walFile.nullable()]);

/** Reads where the WAL of a primary ends on disk. @param sql an admin pool @throws PgsyncError of PostgreSQL */
export async function readWalEnd(sql: Sql): Promise<WalPosition> {
  const context = errorContext(sql, "tell its WAL position");
  try {
    const [row] = await sql.unsafe(`SELECT ${WAL_END}, ${WAL_FILE}`).values();
    const [lsn, file] = walEndRow.parse(row);
    if (lsn === null || file === null) throw standbyError(context.options);
    return { timeline: timelineOf(file), lsn: parseLsn(lsn) };
  } catch (thrown) {
    throw postgresError(thrown, context);
  }
}

/**
 * Reads the ancestors of the server's timeline. Only a walsender tells them.
 *
 * @param server the one that is asked; where another answers, that is an error
 * @throws PgsyncError of PostgreSQL; SERVER_CHANGED
 */
export async function readTimelineHistory(
  options: PostgresOptions,
  database: string,
  server: ServerIdentity,
): Promise<TimelineEnd[]> {
  const { timeline } = server;
  if (timeline === 1) return [];
  const admit = onlyServer(options, server);
  const sql = connectPostgres(options, { database, purpose: "history", max: 1, kind: "replication", admit });
  try {
    // Raw, for before version 15 the content is called bytea and sent as it is.
    const rows: unknown = await sql.unsafe(`TIMELINE_HISTORY ${timeline}`).raw();
    return parseTimelineHistory(contentOf(rows));
  } catch (thrown) {
    throw postgresError(thrown, errorContext(sql, `tell the history of timeline ${timeline}`));
  } finally {
    await sql.end({ timeout: 0 });
  }
}

/** The second column of the only row. */
function contentOf(rows: unknown): string {
  const row: unknown = Array.isArray(rows) ? rows[0] : undefined;
  const content: unknown = Array.isArray(row) ? row[1] : undefined;
  if (content instanceof Uint8Array) return new TextDecoder().decode(content);
  throw new PgsyncError("REPLICATION_PROTOCOL", "The server told no history of its timeline.");
}

/**
 * Reads a history file: a line for each ancestor with its number, where it ends, and why
 * (https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES).
 */
export function parseTimelineHistory(text: string): TimelineEnd[] {
  return text.split("\n").flatMap((line) => {
    const [, timeline, lsn] = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line) ?? [];
    if (timeline === undefined || lsn === undefined) return [];
    return [{ timeline: Number(timeline), endLsn: parseLsn(lsn) }];
  });
}

/**
 * Why a position does not belong to the server's WAL; null where it does.
 *
 * @param position one up to which changes were taken
 * @param server where the server's WAL ends now
 * @param ancestors of the server's timeline
 */
export function divergence(
  position: WalPosition,
  server: WalPosition,
  ancestors: readonly TimelineEnd[],
): string | null {
  const { timeline, lsn } = position;
  if (timeline === server.timeline) {
    if (lsn <= server.lsn) return null;
    return `its WAL ends at ${formatLsn(server.lsn)}, before the position ${formatLsn(lsn)}: ` +
      "an older state of it was restored";
  }
  const found = ancestors.find((ancestor) => ancestor.timeline === timeline);
  if (found === undefined) {
    return `its timeline ${server.timeline} does not descend from timeline ${timeline}, to which the position ${
      formatLsn(lsn)
    } belongs`;
  }
  if (lsn <= found.endLsn) return null;
  return `its timeline ${server.timeline} left timeline ${timeline} at ${
    formatLsn(found.endLsn)
  }, before the position ${formatLsn(lsn)}: changes up to there were taken that it never received`;
}

/** The error that a divergence is. @param reason as `divergence` gives it */
export function divergedError(options: PostgresOptions, slot: string, reason: string): PgsyncError {
  return new PgsyncError(
    "HISTORY_DIVERGED",
    `PostgreSQL at ${addressOf(options)} does not hold the position of the slot "${slot}": ${reason}.`,
  );
}
