import { getLogger } from "@logtape/logtape";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import type { NotedLoss } from "../../checkpoint/types.ts";
import { type ErrorCode, ERRORS } from "../../errors/codes.ts";
import { PgsyncError } from "../../errors/error.ts";
import type { Sql } from "../../postgres/connect.ts";
import { sqlStateOf } from "../../postgres/errors.ts";
import type { PostgresOptions } from "../../postgres/options.ts";
import { aheadError, assertUsableSlot } from "../../replication/slot.ts";
import { type DatabaseState, identityOf } from "../database_state.ts";
import type { RunOptions } from "../options.ts";
import { historyLoss } from "./slot_position.ts";

const logger = getLogger(["pgsync", "sync"]);

/**
 * Faults after which changes are missing that nobody will tell of any more. What helps is one and the same: a new slot is begun, all
 * indices count as not loaded, and their documents are loaded anew in place, those without a row removed. It is right after each of
 * them, for a load supposes nothing of what the index holds; but it reads everything, and it makes the index forget what the
 * server has lost. So it is done where it was asked for.
 *
 * A loss is established, not carried: whatever ended a run, sessions are opened anew, it is looked whose server this is, and then
 * what server and file show decides. Only what the server cannot show is taken from the error.
 *
 * Not among them: CHECKPOINT_FOREIGN (another cluster, or a primary of before that came back: most often a wrong address, and its rows
 * would replace the right documents), SLOT_MISMATCH (somebody else's slot), INDEX_FOREIGN and INDEX_CHANGED (the index is not, or no
 * longer, for these documents).
 */

/** What server and file show by themselves, at any later time. CHECKPOINT_BEHIND is not among them where a run goes on: it was replaced. */
const SHOWN: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  // Somebody dropped it, or a standby was promoted that had no copy of it.
  "SLOT_MISSING",
  // max_slot_wal_keep_size, idle_replication_slot_timeout, rows that a standby removed.
  "SLOT_LOST",
  // The position means something else on this server. Noted in the file, for later nobody can tell.
  "HISTORY_DIVERGED",
  // Gone, or only changed.
  "PUBLICATION_MISSING",
]);

/** What nobody but the error tells of. */
const CARRIED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  // The WAL is there, but cannot be read.
  "DECODING_FAILED",
  // The documents that a row left cannot be found, and the change comes again at each start.
  "OLD_VALUE_MISSING",
  // Documents of the history that the server has lost take no change any more.
  "INDEX_VERSION_AHEAD",
]);

/** The server did not find the publication, be it gone or younger than the slot: the slot is of no use then. */
const UNDEFINED_OBJECT = "42704";

/** Changes that nobody will tell of any more. */
export interface Loss {
  readonly error: PgsyncError;
  /**
   * A start with --bootstrap is not enough to have it mended, it has to be asked for by --on-slot-loss resync: the slot, or the
   * documents, may be another server's or another run's.
   */
  readonly byName: boolean;
}

/** What becomes of a run that was ended. */
export type Verdict =
  /** The server has become another one: sessions are opened anew, and the run goes on where it can. */
  | "reopen"
  /** Changes are lost, or seem to be, and that may be mended: as before, and what is found lost is made anew. */
  | "resync"
  /** It ends. */
  | "halt";

/** Whether a run may begin a new slot by itself. A start that makes what is missing asks for it, unless it says otherwise. */
export function mayResync({ onSlotLoss, bootstrap }: Pick<RunOptions, "onSlotLoss" | "bootstrap">): boolean {
  return (onSlotLoss ?? (bootstrap ? "resync" : "halt")) === "resync";
}

/** Whether an error tells of changes that are lost, or seem to be. */
export function isLoss({ code }: PgsyncError): boolean {
  return SHOWN.has(code) || CARRIED.has(code);
}

/** Judges what ended a run. Pure. */
export function verdict(run: Pick<RunOptions, "onSlotLoss" | "bootstrap">, error: unknown): Verdict {
  if (!(error instanceof PgsyncError)) return "halt";
  if (error.code === "SERVER_CHANGED") return "reopen";
  return mayResync(run) && isLoss(error) ? "resync" : "halt";
}

/** Whether an error tells of a loss that the server does not show by itself. */
export function isCarried(error: PgsyncError): boolean {
  return CARRIED.has(error.code) ||
    error.code === "PUBLICATION_MISSING" && sqlStateOf(error.cause) === UNDEFINED_OBJECT;
}

/** Whether a loss may be mended. Pure. */
export function mayMend({ byName }: Loss, run: Pick<RunOptions, "onSlotLoss" | "bootstrap">): boolean {
  return byName ? run.onSlotLoss === "resync" : mayResync(run);
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
 * What is lost, by what the file has noted, and by what the server shows; null where the run can go on.
 *
 * @param options how the server is reached
 * @param checkpoint it belongs to the server, as far as that is known
 * @throws PgsyncError SLOT_MISMATCH; of PostgreSQL
 */
export async function findLoss(
  admin: Sql,
  options: PostgresOptions,
  state: DatabaseState,
  checkpoint: Checkpoint,
): Promise<Loss | null> {
  const { slot, slotName, database, publication } = state;
  const position = checkpoint.position();
  const ahead = slot === null ? null : aheadError(slotName, slot.confirmedFlushLsn, position);
  const noted = standing(checkpoint, state, ahead);
  if (noted?.begun === true) {
    return { error: notedError(noted.code, noted.reason, checkpoint), byName: false };
  }
  if (noted !== null) {
    return { error: notedError(noted.code, noted.reason, checkpoint), byName: noted.byName };
  }
  const diverged = await historyLoss(admin, options, state, checkpoint);
  if (diverged !== null) {
    // No slot, and WAL that ends too early: a copy of the server, most likely, or one that was left behind.
    const isCopy = slot === null && checkpoint.identity()?.timeline === identityOf(state).timeline;
    return { error: isCopy ? copyError(diverged) : diverged, byName: isCopy };
  }
  try {
    assertUsableSlot(slot, slotName, database);
  } catch (thrown) {
    if (thrown instanceof PgsyncError && SHOWN.has(thrown.code)) return { error: thrown, byName: false };
    throw thrown;
  }
  if (publication === null) {
    const error = new PgsyncError(
      "PUBLICATION_MISSING",
      `The publication "${slotName}" is gone, and PostgreSQL cannot read the slot of that name with one that is made now.`,
    );
    return { error, byName: false };
  }
  // The slot may be in the hands of another run, which would lose it.
  return ahead === null ? null : { error: ahead, byName: true };
}

/**
 * The loss that the file has noted, unless the slot shows that it is none, or none any more. Then it is taken back.
 *
 * @param ahead how the slot is ahead of the file; null where it is not
 */
function standing(
  checkpoint: Checkpoint,
  state: DatabaseState,
  ahead: PgsyncError | null,
): NotedLoss | null {
  const noted = checkpoint.loss();
  if (noted === null) return null;
  // Another process has mended it, or could do without, and has gone on from there: what is to be judged is that.
  const isOthers = ahead !== null && noted.code !== ahead.code;
  // The address had led to another server: one that has lost the position would have the slot at an earlier one.
  const { slot } = state;
  const isRight = !noted.begun && noted.code === "HISTORY_DIVERGED" && slot !== null &&
    slot.confirmedFlushLsn === checkpoint.position() &&
    checkpoint.identity()?.timeline === identityOf(state).timeline;
  if (!isOthers && !isRight) return noted;
  checkpoint.withdrawLoss();
  logger.info("the loss that the checkpoint file {path} has noted ({code}) is none any more: {why}", {
    path: checkpoint.path,
    code: noted.code,
    why: isRight ? "this server has the slot at the very position" : "another process has gone on from there",
  });
  return null;
}

/** Keeps in the file what nobody could find out again: by the next start the server may have come to the position. */
export function recordDivergence({ error, byName }: Loss, checkpoint: Checkpoint): void {
  if (error.code !== "HISTORY_DIVERGED" || checkpoint.loss() !== null) return;
  checkpoint.noteLoss({ code: error.code, reason: error.message, begun: false, byName });
}

/** Keeps in the file that a loss is being mended: whoever is interrupted, after the slot was dropped perhaps, finds it again. */
export function recordMending(error: PgsyncError, checkpoint: Checkpoint): void {
  checkpoint.noteLoss({ code: error.code, reason: error.message, begun: true, byName: false });
}

/** What to do where a copy of the server, or one that was left behind, answers: to make the slot there would be the wrong mending. */
function copyError({ code, message }: PgsyncError): PgsyncError {
  return new PgsyncError(code, message, {
    remedy:
      "Most often PG_URL leads to the wrong server, a copy or an older state of the right one: correct it. Where this one is to " +
      "be followed from now on: --on-slot-loss resync, which loads all documents anew.",
  });
}

function notedError(code: string, reason: string, checkpoint: Checkpoint): PgsyncError {
  if (!isErrorCode(code) || code !== "HISTORY_DIVERGED") {
    return new PgsyncError(isErrorCode(code) ? code : "SLOT_MISSING", reason);
  }
  return new PgsyncError(code, reason, {
    remedy:
      `${
        ERRORS[code].remedy
      } Where a wrong address had led to a copy of the server, and it is right by now: move the ` +
      `checkpoint file ${checkpoint.path} away; the slot's own position serves then, and all documents are compared.`,
  });
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}
