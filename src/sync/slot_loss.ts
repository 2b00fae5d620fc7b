import { getLogger } from "@logtape/logtape";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { ErrorCode } from "../errors/codes.ts";
import { PgsyncError, toPgsyncError } from "../errors/error.ts";
import type { Sql } from "../postgres/connect.ts";
import { patiently } from "../retry/patience.ts";
import { sqlStateOf } from "../postgres/errors.ts";
import type { PostgresOptions } from "../postgres/options.ts";
import { assertUsableSlot, dropSlot, type SlotState } from "../replication/slot.ts";
import type { StatusBoard } from "../status/status_board.ts";
import type { DatabaseState } from "./database_state.ts";
import type { RunOptions } from "./options.ts";
import { positionLoss } from "./slot_position.ts";

const logger = getLogger(["pgsync", "sync"]);

/**
 * Faults after which changes are missing that nobody will tell of any more. What helps is one and the same: a new slot is begun, all
 * indices count as not loaded, and their documents are loaded anew in place, those without a row removed. It is right after each of
 * them, for a load supposes nothing of what the index holds; but it reads everything, and it makes the index forget what the
 * server has lost. So it is done where it was asked for.
 *
 * Not among them: CHECKPOINT_BEHIND (see `mayMend`; a run that meets it while it follows was replaced by another), CHECKPOINT_FOREIGN (another cluster, or a primary of before that came back: most often a wrong address, and its rows
 * would replace the right documents), SLOT_MISMATCH (somebody else's slot), INDEX_FOREIGN and INDEX_CHANGED (the index is not, or no
 * longer, for these documents).
 */
const LOSSES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  // Somebody dropped it, or a standby was promoted that had no copy of it.
  "SLOT_MISSING",
  // max_slot_wal_keep_size, idle_replication_slot_timeout, rows that a standby removed.
  "SLOT_LOST",
  // The WAL is there, but cannot be read.
  "DECODING_FAILED",
  // The documents that a row left cannot be found, and the change comes again at each start.
  "OLD_VALUE_MISSING",
  // The position means something else on this server.
  "HISTORY_DIVERGED",
  // Documents of the history that the server has lost take no change any more.
  "INDEX_VERSION_AHEAD",
]);

/** The server did not find the publication, be it gone or younger than the slot: the slot is of no use then. */
const UNDEFINED_OBJECT = "42704";

/** Whether only a new slot helps. */
export function isLoss(error: PgsyncError): boolean {
  return LOSSES.has(error.code) ||
    error.code === "PUBLICATION_MISSING" && sqlStateOf(error.cause) === UNDEFINED_OBJECT;
}

/** Whether a run may begin a new slot by itself. A start that makes what is missing asks for it, unless it says otherwise. */
export function mayResync({ onSlotLoss, bootstrap }: RunOptions): boolean {
  return (onSlotLoss ?? (bootstrap ? "resync" : "halt")) === "resync";
}

/**
 * Whether a run that was ended by this begins anew by itself: with new sessions where the server has become another one, with a new slot
 * where changes are lost. A publication that cannot be used is looked at first: it may be there, and somebody else's to mend.
 */
export function goesOnAfter(run: RunOptions, error: unknown): error is PgsyncError {
  if (!(error instanceof PgsyncError)) return false;
  return error.code === "SERVER_CHANGED" ||
    mayResync(run) && (isLoss(error) || error.code === "PUBLICATION_MISSING");
}

/**
 * Whether a run that was started as a standby stands by after this, rather than end: another process follows the slot or holds the file, or a server is away. What
 * it was told to give up is not lost, for whoever has the slot goes on with it.
 */
export function standsByAfter(error: PgsyncError): boolean {
  return error.nextOnceConnected === "retry" || error.code === "CHECKPOINT_LOCKED" ||
    error.code === "CHECKPOINT_BEHIND";
}

/**
 * Whether a run may mend a loss that it finds at its start by beginning a new slot. A slot that has been confirmed beyond the
 * file's position (CHECKPOINT_BEHIND) may be in the hands of another run, which would lose it: so that has to be asked for by
 * name, and nobody must be following the slot.
 */
export function mayMend(loss: PgsyncError, run: RunOptions, slot: SlotState | null): boolean {
  if (loss.code !== "CHECKPOINT_BEHIND") return mayResync(run);
  return run.onSlotLoss === "resync" && slot?.active !== true;
}

/**
 * What was lost while nothing ran, or what a run was ended by; null where it can go on.
 *
 * @param options how the server is reached
 * @throws PgsyncError SLOT_MISMATCH; of PostgreSQL
 */
export async function findLoss(
  admin: Sql,
  options: PostgresOptions,
  state: DatabaseState,
  checkpoint: Checkpoint,
): Promise<PgsyncError | null> {
  const { slot, slotName, database, publication } = state;
  try {
    assertUsableSlot(slot, slotName, database);
  } catch (thrown) {
    if (thrown instanceof PgsyncError && isLoss(thrown)) return thrown;
    throw thrown;
  }
  if (publication === null) {
    return new PgsyncError(
      "PUBLICATION_MISSING",
      `The publication "${slotName}" is gone, and PostgreSQL cannot read the slot of that name with one that is made now.`,
    );
  }
  return await positionLoss(admin, options, state, slot, checkpoint);
}

/**
 * Whether a setup problem is a loss, too: what a resync mends.
 *
 * @param problem of `setupProblems`
 */
export function isLossProblem(problem: PgsyncError, state: DatabaseState): boolean {
  return isLoss(problem) || problem.code === "PUBLICATION_MISSING" && state.publication === null;
}

/** Keeps in the file what nobody could find out again: by the next start the server may have come to the position. */
export function recordLoss(loss: PgsyncError, checkpoint: Checkpoint): void {
  if (loss.code === "HISTORY_DIVERGED") checkpoint.noteLoss(loss.message);
}

/** Drops the slot for a resync, and says so. @throws PgsyncError that is not temporary; the signal's reason */
export async function giveSlotUp(
  admin: Sql,
  state: DatabaseState,
  loss: PgsyncError,
  board: StatusBoard,
  signal: AbortSignal,
): Promise<void> {
  const remedy = "A new slot is made, and the documents are loaded anew in place.";
  const reason =
    `The slot "${state.slotName}" is given up, and the documents are loaded anew: ${loss.message}`;
  // Once, also where what follows has to be tried again: the search engine may be away for hours.
  if (board.remapping !== reason) {
    board.retry(new PgsyncError(loss.code, loss.message, { remedy, cause: loss }), "replication");
    logger.warn("{reason}", { reason });
    board.remapping = reason;
  }
  const drop = () => dropSlot(admin, state.slotName);
  await patiently(drop, toPgsyncError, (fault) => board.retry(fault), signal);
}
