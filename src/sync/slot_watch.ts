import { getLogger } from "@logtape/logtape";
import type { SourceClock } from "../documents/source_clock.ts";
import type { Sql } from "../postgres/connect.ts";
import { inspectSlot } from "../replication/slot.ts";
import { delayOrAbort } from "../retry/backoff.ts";
import type { StatusBoard } from "../status/status_board.ts";

const logger = getLogger(["pgsync", "sync"]);

/** How often the slot is looked at, for lag and WAL budget. */
const SLOT_LOOK_MS = 5_000;

/** Keeps the board told of the slot until the signal. */
export async function watchSlot(
  admin: Sql,
  slotName: string,
  clock: SourceClock,
  board: StatusBoard,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const slot = await inspectSlot(admin, slotName);
      const lsn = await clock.position();
      if (slot !== null) {
        board.slot = {
          server: lsn,
          retainedBytes: slot.restartLsn === null ? 0 : Math.max(0, Number(lsn - slot.restartLsn)),
          safeBytes: slot.safeWalSize === null ? null : Number(slot.safeWalSize),
        };
      }
    } catch (error) {
      logger.debug("the slot could not be looked at: {error}", { error });
    }
    await delayOrAbort(SLOT_LOOK_MS, signal);
  }
}
