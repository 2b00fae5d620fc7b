import { getLogger } from "@logtape/logtape";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import type { Identity, KnownCommit } from "../../checkpoint/types.ts";
import { PgsyncError } from "../../errors/error.ts";
import type { Sql } from "../../postgres/connect.ts";
import type { PostgresOptions } from "../../postgres/options.ts";
import { addressOf } from "../../postgres/socket.ts";
import { divergedError, divergence, readTimelineHistory, readWalEnd } from "../../replication/history.ts";
import { formatLsn } from "../../replication/lsn.ts";
import type { SlotState } from "../../replication/slot.ts";
import { type DatabaseState, identityOf } from "../database_state.ts";

const logger = getLogger(["pgsync", "sync"]);

/** Whether a run can go on from the position in its checkpoint file. */

/**
 * Whether the file is of this server. To be asked before anything else, also where there is no slot: what an old primary, or a copy of
 * the server, lacks is no loss. Only where another cluster has no slot, the file may be of one that was made anew: it is emptied when the slot
 * is made (and the indices say whose they are).
 *
 * @param now whose server it is
 * @param mayBeNew there is no slot, and one may be made for the first time
 * @throws PgsyncError CHECKPOINT_FOREIGN where the file belongs to another server, database or slot, or to a later timeline
 */
export function checkBelonging(now: Identity, checkpoint: Checkpoint, mayBeNew: boolean): void {
  const before = checkpoint.identity();
  if (before === null) return;
  const isNew = mayBeNew && before.systemIdentifier !== now.systemIdentifier;
  if (isNew) return checkpoint.checkOwner(now);
  // A greater timeline would be recorded by the check: that waits until it is known what became of the position.
  checkpoint.checkIdentity({ ...now, timeline: Math.min(now.timeline, before.timeline) });
}

/**
 * Whether the position is in the server's WAL.
 *
 * @param checkpoint as `checkBelonging`
 * @returns HISTORY_DIVERGED where it is not
 * @throws PgsyncError of PostgreSQL
 */
export async function historyLoss(
  admin: Sql,
  options: PostgresOptions,
  state: DatabaseState,
  checkpoint: Checkpoint,
): Promise<PgsyncError | null> {
  const before = checkpoint.identity();
  const lsn = checkpoint.position();
  const now = identityOf(state);
  if (before === null || lsn === null || before.systemIdentifier !== now.systemIdentifier) return null;
  const ancestors = before.timeline === now.timeline
    ? []
    : await readTimelineHistory(options, state.database, now);
  const end = await readWalEnd(admin);
  const reason = divergence(
    { timeline: before.timeline, lsn },
    { ...end, timeline: now.timeline },
    ancestors,
  );
  return reason === null ? null : divergedError(options, state.slotName, reason);
}

/**
 * To be called when nothing is lost. Where a standby was promoted that had received all that was taken, the run can go on, but the
 * documents are compared: some may show what was committed after the position, and lost with the server before.
 */
export function recordPromotion(state: DatabaseState, checkpoint: Checkpoint): void {
  const before = checkpoint.identity();
  const now = identityOf(state);
  if (before === null || before.timeline >= now.timeline) return;
  checkpoint.transaction(() => {
    // Forgotten in one step with the timeline: whoever is interrupted has the documents compared all the same.
    checkpoint.forgetHistory();
    checkpoint.checkIdentity(now);
  });
  logger.warn(
    "a standby was promoted: the server of slot {slot} is on timeline {now} now, and was on {before}; it holds all that was " +
      "taken, so the run goes on, and the documents are compared",
    { slot: state.slotName, now: now.timeline, before: before.timeline },
  );
}

/** The error that a server is which has not sent the last transaction that was taken. The position is judged anew after it. */
export function restoredError(options: PostgresOptions, slotName: string, commit: KnownCommit): PgsyncError {
  const time = new Date(commit.timeMs).toISOString();
  return new PgsyncError(
    "SERVER_CHANGED",
    `PostgreSQL at ${
      addressOf(options)
    } does not hold the last transaction that was taken from the slot "${slotName}" ` +
      `(${formatLsn(commit.lsn)}, of ${time}): an older state of it was restored, and has written on since.`,
  );
}

/**
 * To be called after such an error, when nothing that followed the slot is at work any more. What was committed there up to the position is told by nobody, so the
 * documents are compared. Whoever is interrupted before meets the same error.
 */
export function recordRestore(error: PgsyncError, checkpoint: Checkpoint): void {
  checkpoint.forgetHistory();
  logger.warn("{message} All documents are compared", { message: error.message });
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
