import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import type { Session } from "../postgres/session.ts";
import type { PostgresOptions } from "../postgres/options.ts";
import { postgresError, type PostgresErrorContext, sqlStateOf } from "../postgres/errors.ts";
import { addressOf } from "../postgres/socket.ts";
import { formatLsn, type Lsn, parseLsn } from "../replication/lsn.ts";
import type { ServerMoment } from "./source_clock.ts";

/** The server that documents are read from, and the cluster that it must be a standby of. */
export interface Replica {
  readonly options: PostgresOptions;
  /** `system_identifier` of the primary. */
  readonly systemIdentifier: string;
}

/** What a server that should be a standby says of itself. */
export interface StandbyLook {
  readonly inRecovery: boolean;
  /** The end of the last WAL record that it has replayed. */
  readonly replayed: Lsn;
  readonly systemIdentifier: string;
  /** The newest timeline that it is known to follow. */
  readonly timeline: number;
}

/**
 * A standby cannot name the timeline that it replays, so the newest one is taken that it is known to follow: of the last
 * restart point, of the last page that it wrote, and of the WAL receiver (shown to members of pg_read_all_stats only).
 * It follows a timeline only while it has not gone beyond the place where that one began, so all that it has replayed
 * is part of that timeline's history. Before the first record after its start the replayed position is NULL.
 */
const LOOK = `
SELECT
  pg_catalog.pg_is_in_recovery()::pg_catalog.text,
  coalesce(pg_catalog.pg_last_wal_replay_lsn(), '0/0')::pg_catalog.text,
  (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()),
  greatest(
    (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
    (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()),
    (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver)
  )::pg_catalog.text`;

const lookRow = z.tuple([
  z.enum(["true", "false"]),
  z.string(),
  z.string(),
  z.string().regex(/^\d+$/).transform(Number),
]);

/**
 * Asks a connection how far its server is.
 *
 * @param session one of the building kind: it gives all values as text
 * @throws postgres.js' errors
 */
export async function lookAtStandby(session: Session): Promise<StandbyLook> {
  const [row] = await session.unsafe(LOOK, [], { prepare: true }).values();
  const [inRecovery, replayed, systemIdentifier, timeline] = lookRow.parse(row);
  return { inRecovery: inRecovery === "true", replayed: parseLsn(replayed), systemIdentifier, timeline };
}

/** @throws PgsyncError REPLICA_UNFIT where documents must not be read from the server */
export function refuseUnfit(look: StandbyLook, { options, systemIdentifier }: Replica): void {
  const server = `The server at ${addressOf(options)}, from which documents are to be read,`;
  if (look.systemIdentifier !== systemIdentifier) {
    throw new PgsyncError(
      "REPLICA_UNFIT",
      `${server} belongs to another cluster (${look.systemIdentifier}) than the primary (${systemIdentifier}).`,
    );
  }
  if (!look.inRecovery) {
    throw new PgsyncError("REPLICA_UNFIT", `${server} is not a standby, or is one no more: it was promoted.`);
  }
}

/**
 * Whether the server has not come to a moment yet. On another timeline than the primary its position means nothing.
 *
 * @returns REPLICA_BEHIND to be thrown or told; null where what it shows holds everything before the moment
 */
export function behind(
  look: StandbyLook,
  moment: ServerMoment,
  { options }: Replica,
): PgsyncError | null {
  const standby = `The standby at ${addressOf(options)}`;
  if (look.timeline !== moment.timeline) {
    return new PgsyncError(
      "REPLICA_BEHIND",
      `${standby} is on timeline ${look.timeline}, as far as it is known, but the primary on ${moment.timeline}.`,
      {
        remedy:
          "None needed where it follows the primary: it is looked at again. A role that is a member of " +
          "pg_read_all_stats sees its timeline at once, another only after the standby's next restart point.",
      },
    );
  }
  if (look.replayed >= moment.lsn) return null;
  return new PgsyncError(
    "REPLICA_BEHIND",
    `${standby} has replayed the WAL up to ${formatLsn(look.replayed)}, ${
      moment.lsn - look.replayed
    } bytes short of ` +
      `${formatLsn(moment.lsn)}, which changed documents must be read at.`,
  );
}

/** There is no such database. */
const NO_DATABASE = "3D000";

/**
 * Makes an error of ours of what a statement on the standby threw. A database that the primary has and the standby has not is
 * one whose making it has still to replay.
 */
export function replicaError(thrown: unknown, context: PostgresErrorContext): PgsyncError {
  if (sqlStateOf(thrown) !== NO_DATABASE) return postgresError(thrown, context);
  return new PgsyncError(
    "REPLICA_BEHIND",
    `The standby at ${
      addressOf(context.options)
    } has no database "${context.database}" yet, which the primary has.`,
    {
      remedy:
        "None needed where it follows the primary: it is looked at again. If it lasts, look whether it does.",
      cause: thrown,
    },
  );
}
