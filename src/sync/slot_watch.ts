import { getLogger } from "@logtape/logtape";
import type { SourceClock } from "../documents/source_clock.ts";
import type { Sql } from "../postgres/connect.ts";
import type { Lsn } from "../replication/lsn.ts";
import { inspectSlot } from "../replication/slot.ts";
import { delayOrAbort } from "../retry/backoff.ts";
import type { StatusBoard } from "../status/status_board.ts";
import { WalBudget } from "./wal_budget.ts";

const logger = getLogger(["pgsync", "sync"]);

/** How often the slot is looked at, for lag and WAL budget. */
const SLOT_LOOK_MS = 5_000;
const ABOUT = "wal";

/**
 * Keeps the board told of the slot until the signal, and has it warn while the slot keeps too much.
 *
 * @param mostRetainedBytes as `WalBudget`
 */
export async function watchSlot(
  admin: Sql,
  slotName: string,
  clock: SourceClock,
  board: StatusBoard,
  mostRetainedBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const budget = new WalBudget(slotName, mostRetainedBytes);
  while (!signal.aborted) {
    try {
      const slot = await inspectSlot(admin, slotName);
      const lsn = await clock.position();
      if (slot !== null) {
        const bytesSince = (position: Lsn | null) =>
          position === null ? 0 : Math.max(0, Number(lsn - position));
        const retainedBytes = bytesSince(slot.restartLsn);
        const safeBytes = slot.safeWalSize === null ? null : Number(slot.safeWalSize);
        board.slot = { server: lsn, retainedBytes, safeBytes };
        const unconfirmedBytes = bytesSince(slot.confirmedFlushLsn);
        const warning = budget.look({ at: performance.now(), retainedBytes, safeBytes, unconfirmedBytes });
        board.stand(ABOUT, warning?.message ?? null, warning?.level);
      }
    } catch (error) {
      logger.debug("the slot could not be looked at: {error}", { error });
    }
    await delayOrAbort(SLOT_LOOK_MS, signal);
  }
}
