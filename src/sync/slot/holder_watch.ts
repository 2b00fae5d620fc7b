import { getLogger } from "@logtape/logtape";
import type { PgsyncError } from "../../errors/error.ts";
import type { Sql } from "../../postgres/connect.ts";
import type { SlotFollower } from "../../replication/follow.ts";
import { inspectSlot, slotActiveError } from "../../replication/slot.ts";
import { delayOrAbort } from "../../retry/backoff.ts";

const logger = getLogger(["pgsync", "sync"]);

/** How often the slot is looked at while no session of ours stands. */
const LOOK_EVERY_MS = 250;
/** How often we are told to hurry: others take a slot that is free for longer than that (`FREE_FOR_MS`). */
const HURRY_EVERY_MS = 1_000;

/** Who watches for whom. */
export interface HolderWatch {
  readonly admin: Sql;
  readonly slotName: string;
  readonly follower: Pick<SlotFollower, "connected" | "hurry">;
  /**
   * The process ids of all sessions that we have asked for the slot with. One may live on for a while after its connection is gone, until
   * the server has missed us; one may have the slot before we know.
   */
  readonly walsenders: ReadonlySet<number>;
  /** Called once with SLOT_ACTIVE. */
  readonly onReplaced: (error: PgsyncError) => Promise<void>;
}

/**
 * Watches the slot while our session is cut, where other processes stand by for it. Is it in use by a walsender that was never ours, one of
 * them has taken it; is it free, we are to come back at once: they give us 2 s, and a wait for a server that was away may be longer.
 */
export async function watchHolder(watch: HolderWatch, signal: AbortSignal): Promise<void> {
  const { admin, slotName, follower, walsenders, onReplaced } = watch;
  let seen: number | null = null;
  let hurriedAt = -Infinity;
  while (true) {
    await delayOrAbort(LOOK_EVERY_MS, signal);
    if (signal.aborted) return;
    try {
      const slot = follower.connected ? null : await inspectSlot(admin, slotName);
      const pid = slot?.activePid ?? null;
      if (slot !== null && pid === null && performance.now() - hurriedAt >= HURRY_EVERY_MS) {
        hurriedAt = performance.now();
        follower.hurry();
      }
      // Seen once, it may be somebody who has only looked into the slot (`pg_logical_slot_peek_changes`).
      if (pid !== null && pid === seen && !walsenders.has(pid) && !follower.connected) {
        return await onReplaced(slotActiveError(slotName, slot));
      }
      seen = pid;
    } catch (error) {
      logger.debug("the slot could not be looked at: {error}", { error });
    }
  }
}
