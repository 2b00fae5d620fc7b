import { getLogger } from "@logtape/logtape";
import type { PgsyncError } from "../errors/error.ts";
import type { StatusBoard } from "../status/status_board.ts";

const logger = getLogger(["pgsync", "sync"]);

/** Looks that fail for so long are told of. A server that begins anew is back sooner. */
const TOLD_AFTER_MS = 20_000;
const ABOUT = "looks";

/** Tells the operator that the tables cannot be looked at, when that lasts. */
export function tellFailingLooks(board: StatusBoard, error: PgsyncError, since: Date): void {
  logger.debug("the tables could not be looked at: {error}", { error });
  if (Date.now() - since.getTime() < TOLD_AFTER_MS) return;
  board.stand(
    ABOUT,
    `The tables could not be looked at since ${since.toISOString()}, so what the stream does not tell of (ALTER TABLE, the ` +
      `publication, partitions) goes unnoticed: ${error.message}`,
  );
}

/** The tables were looked at. */
export function forgetFailingLooks(board: StatusBoard): void {
  board.stand(ABOUT, null);
}
