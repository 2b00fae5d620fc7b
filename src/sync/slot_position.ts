import { getLogger } from "@logtape/logtape";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { PgsyncError } from "../errors/error.ts";
import { errorContext, type Sql } from "../postgres/connect.ts";
import { postgresError } from "../postgres/errors.ts";
import type { PostgresOptions } from "../postgres/options.ts";
import { divergedError, divergence, readTimelineHistory } from "../replication/history.ts";
import { formatLsn, type Lsn, parseLsn } from "../replication/lsn.ts";
import { aheadError, type SlotState } from "../replication/slot.ts";
import { documentVersion } from "../search/version.ts";
import { type DatabaseState, identityOf } from "./database_state.ts";

const logger = getLogger(["pgsync", "sync"]);

/** Whether a run can go on from the position in its checkpoint file. */

/** @throws PgsyncError CHECKPOINT_FOREIGN where the file belongs to another server, database or slot */
export function checkBelonging(state: DatabaseState, checkpoint: Checkpoint): void {
  const now = identityOf(state);
  // A greater timeline would be recorded by the check: that waits until it is known what became of the position.
  const timeline = Math.min(now.timeline, checkpoint.identity()?.timeline ?? now.timeline);
  checkpoint.checkIdentity({ ...now, timeline });
}

/**
 * Why the changes after the stored position cannot be had from the slot; null where they can.
 *
 * @returns CHECKPOINT_BEHIND, HISTORY_DIVERGED
 * @param checkpoint it belongs to the server
 * @throws PgsyncError of PostgreSQL
 */
export async function positionLoss(
  admin: Sql,
  options: PostgresOptions,
  state: DatabaseState,
  slot: SlotState,
  checkpoint: Checkpoint,
): Promise<PgsyncError | null> {
  const noted = checkpoint.loss();
  if (noted !== null) return new PgsyncError("HISTORY_DIVERGED", noted);
  return await historyLoss(admin, options, state, checkpoint) ??
    aheadError(slot.name, slot.confirmedFlushLsn, checkpoint.position());
}

/**
 * Whether the position belongs to the server's WAL. Where a standby was promoted that had received all of it, the run can go on, but the
 * documents are compared: some may show what was committed after the position, on the server before, and lost with it.
 */
async function historyLoss(
  admin: Sql,
  options: PostgresOptions,
  state: DatabaseState,
  checkpoint: Checkpoint,
): Promise<PgsyncError | null> {
  const before = checkpoint.identity();
  const now = identityOf(state);
  const lsn = checkpoint.position();
  if (before === null) return null;
  const ancestors = before.timeline === now.timeline
    ? []
    : await readTimelineHistory(options, state.database, now.timeline);
  const end = await walEnd(admin);
  if (lsn !== null) {
    const reason = divergence(
      { timeline: before.timeline, lsn },
      { timeline: now.timeline, lsn: end },
      ancestors,
    );
    if (reason !== null) return divergedError(state.slotName, reason);
  }
  checkpoint.transaction(() => {
    // Forgotten in one step with the timeline: whoever is interrupted has the documents compared all the same.
    if (before.timeline < now.timeline) checkpoint.keepSources([]);
    checkpoint.checkIdentity(now);
  });
  if (before.timeline < now.timeline) {
    logger.warn(
      "a standby was promoted: the server of slot {slot} is on timeline {now} now, and was on {before}; it holds all that was " +
        "taken, so the run goes on, and the documents are compared",
      { slot: state.slotName, now: now.timeline, before: before.timeline },
    );
  }
  return null;
}

/** The greatest version that a document built from this server can have by now. @throws PgsyncError of PostgreSQL */
export async function newestVersion(admin: Sql): Promise<bigint> {
  const [row] = await asked(admin, (sql) =>
    sql<{ file: string; lsn: string }[]>`
      SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_flush_lsn()) AS file,
        pg_catalog.pg_current_wal_flush_lsn()::text AS lsn`);
  const timeline = Number.parseInt(row?.file.slice(0, 8) ?? "", 16);
  // Batches at one position are numbered by the bits that alignment leaves free.
  return documentVersion({ timeline, lsn: parseLsn(row?.lsn ?? "") + 7n, fromStream: true });
}

async function walEnd(admin: Sql): Promise<Lsn> {
  const [row] = await asked(
    admin,
    (sql) => sql<{ lsn: string }[]>`SELECT pg_catalog.pg_current_wal_flush_lsn()::text AS lsn`,
  );
  return parseLsn(row?.lsn ?? "");
}

async function asked<T>(admin: Sql, ask: (sql: Sql) => Promise<T>): Promise<T> {
  try {
    return await ask(admin);
  } catch (thrown) {
    throw postgresError(thrown, errorContext(admin, "tell its WAL position"));
  }
}

/**
 * Has a standby that holds the slot go on from the slot's own position where its file is older: another process has followed the slot meanwhile, with a file of its own.
 * That stored each position before it confirmed it, when the search engine had all before it.
 */
export function followOn(slot: SlotState, checkpoint: Checkpoint): void {
  const before = checkpoint.position();
  const { confirmedFlushLsn: confirmed } = slot;
  if (before === null || confirmed === null) return;
  checkpoint.followOn(confirmed);
  logger.warn(
    "the checkpoint file {path} stands at {before}, and slot {slot} at {confirmed}: another process has followed it meanwhile, with a " +
      "file of its own. Going on from the slot's position; all documents are compared, dead letters of the other process are known only as far " +
      "as that finds them again, and a load that it has not finished begins again",
    {
      path: checkpoint.path,
      slot: slot.name,
      before: formatLsn(before),
      confirmed: formatLsn(confirmed),
    },
  );
}

/** Says what is not known where the file is new, or without a position, and the slot is not. */
export function warnOfNewFile(slot: SlotState, checkpoint: Checkpoint): void {
  if (checkpoint.position() !== null) return;
  const what = { path: checkpoint.path, slot: slot.name };
  if (checkpoint.identity() === null) {
    logger.warn(
      "the checkpoint file {path} is new, but the slot {slot} is not: going on from the slot's own position; all documents are " +
        "compared, dead letters of before are known only as far as that finds them again, and a load that was not finished begins again",
      what,
    );
  } else {
    // Bootstrap stores the position of the slot that it makes, so the process was killed just then; or somebody made a copy just then.
    logger.warn(
      "the checkpoint file {path} holds no position: going on from that of the slot {slot}; all documents are compared, and " +
        "should the file be an older copy, dead letters of since are known only as far as that finds them again",
      what,
    );
  }
}
