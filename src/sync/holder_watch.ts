import { getLogger } from "@logtape/logtape";
import type { PgsyncError } from "../errors/error.ts";
import type { Sql } from "../postgres/connect.ts";
import type { SlotFollower } from "../replication/follow.ts";
import { inspectSlot, slotActiveError } from "../replication/slot.ts";
import { delayOrAbort } from "../retry/backoff.ts";

const logger = getLogger(["pgsync", "sync"]);

/** How often the slot is looked at while no session of ours stands. */
const LOOK_EVERY_MS = 250;

/**
 * Notices, where other processes stand by for the slot, that one of them has taken it: our session was cut, and the slot is in use by a
 * walsender that was never ours. (One that was ours may live on for a while, until the server has missed us.)
 *
 * @param onReplaced called once with SLOT_ACTIVE
 */
export async function watchHolder(
  admin: Sql,
  slotName: string,
  follower: Pick<SlotFollower, "connected" | "walsender">,
  onReplaced: (error: PgsyncError) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  let seen: number | null = null;
  while (true) {
    await delayOrAbort(LOOK_EVERY_MS, signal);
    if (signal.aborted) return;
    try {
      const slot = follower.connected ? null : await inspectSlot(admin, slotName);
      const pid = slot?.activePid ?? null;
      // Seen once, it may be our own that is just beginning.
      if (pid !== null && pid === seen && pid !== follower.walsender && !follower.connected) {
        return await onReplaced(slotActiveError(slotName, slot));
      }
      seen = pid;
    } catch (error) {
      logger.debug("the slot could not be looked at: {error}", { error });
    }
  }
}
