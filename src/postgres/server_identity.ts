import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import { standbyError } from "./errors.ts";
import type { PostgresOptions } from "./options.ts";
import { addressOf } from "./socket.ts";

/**
 * A name may lead to another server at any moment: a standby, one that was promoted, another cluster. Which one answers is therefore
 * asked of each session when it has logged in, and never again: a server that is no standby can become nothing else without ending
 * its sessions.
 */

/** Tells one server from another, and what it was from what it became. */
export interface ServerIdentity {
  /** In decimal. */
  readonly systemIdentifier: string;
  /** It grows with each promotion, and each restore to a point in time. */
  readonly timeline: number;
}

/** What a server says of itself. */
export interface FoundServer {
  readonly systemIdentifier: string;
  /** Null on a standby. */
  readonly timeline: number | null;
}

/**
 * Judges the server that a session has come to.
 *
 * @returns why the session is not to be used; null where it is
 */
export type Admission = (found: FoundServer) => PgsyncError | null;

/** The end of the WAL that is on disk, an expression; NULL on a standby, which has none of its own. */
export const WAL_END =
  "CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_flush_lsn()::pg_catalog.text END";

/**
 * The name of the WAL file that is written, an expression; NULL on a standby. It begins with the timeline in hexadecimal
 * (https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-BACKUP). The control file's timeline lags behind a promotion.
 */
export const WAL_FILE =
  "CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_flush_lsn()) END";

/** What `readIdentity` reads. */
export const IDENTITY_SQL =
  `SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()), ${WAL_FILE}`;

/** The name of a WAL file, as `WAL_FILE` gives it. */
export const walFile = z.string().regex(/^[0-9A-F]{24}$/);

const identityRow = z.tuple([z.string().regex(/^\d+$/), walFile.nullable()]);

/** @param row of `IDENTITY_SQL`, as text */
export function readIdentity(row: readonly (string | null)[]): FoundServer {
  const [systemIdentifier, file] = identityRow.parse(row);
  return { systemIdentifier, timeline: file === null ? null : timelineOf(file) };
}

/** The timeline that the name of a WAL file begins with. */
export function timelineOf(file: string): number {
  return Number.parseInt(file.slice(0, 8), 16);
}

/** Lets sessions in that come to one server. */
export function onlyServer(options: PostgresOptions, expected: ServerIdentity): Admission {
  return (found) => {
    const server = `PostgreSQL at ${addressOf(options)}`;
    if (found.systemIdentifier !== expected.systemIdentifier) {
      return new PgsyncError(
        "SERVER_CHANGED",
        `${server} is another cluster now: its system identifier is ${found.systemIdentifier}, and was ` +
          `${expected.systemIdentifier}.`,
      );
    }
    // During a failover the name may lead to a standby that is promoted later.
    if (found.timeline === null) return standbyError(options);
    if (found.timeline === expected.timeline) return null;
    return new PgsyncError(
      "SERVER_CHANGED",
      `${server} is on timeline ${found.timeline} now, and was on ${expected.timeline}.`,
    );
  };
}

/** Lets sessions in that come to a primary, whichever it is: during a failover the name may lead to a standby that is promoted later. */
export function onlyPrimary(options: PostgresOptions): Admission {
  return ({ timeline }) => timeline === null ? standbyError(options) : null;
}

/** Lets all sessions in that come to the same server as the first of them, whichever that is: it may be a standby. */
export function oneServer(options: PostgresOptions): Admission {
  let first: FoundServer | null = null;
  return (found) => {
    first ??= found;
    const { systemIdentifier, timeline } = first;
    if (timeline !== null) return onlyServer(options, { systemIdentifier, timeline })(found);
    if (found.systemIdentifier === systemIdentifier && found.timeline === null) return null;
    return new PgsyncError(
      "SERVER_CHANGED",
      `PostgreSQL at ${addressOf(options)} was a standby, and is one no more, or is another one.`,
    );
  };
}
