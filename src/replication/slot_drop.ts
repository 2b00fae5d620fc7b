import { errorContext, type Sql } from "../postgres/connect.ts";
import { postgresError, sqlStateOf } from "../postgres/errors.ts";
import { delay } from "../retry/backoff.ts";
import { inspectSlot, slotActiveError, type SlotState } from "./slot.ts";

/** To give a slot up, and to leave it to whoever follows it. */

/**
 * Drops a slot; false where it did not exist. A walsender that has just lost its client may hold the slot for a moment, so it waits.
 *
 * @param waitLimitMs how long to wait for a slot in use; 5,000 by default
 * @throws PgsyncError SLOT_ACTIVE where it stays in use; else as `postgresError`
 */
export async function dropSlot(sql: Sql, name: string, waitLimitMs = 5_000): Promise<boolean> {
  const deadline = performance.now() + waitLimitMs;
  while (true) {
    try {
      await sql`SELECT pg_catalog.pg_drop_replication_slot(${name})`;
      return true;
    } catch (error) {
      const sqlState = sqlStateOf(error);
      if (sqlState === "42704") return false;
      if (sqlState !== "55006") {
        throw postgresError(error, errorContext(sql, `drop the replication slot "${name}"`));
      }
      if (performance.now() > deadline) throw slotActiveError(name, await inspectSlot(sql, name), error);
    }
    await delay(50);
  }
}

/** How long nobody may have followed a slot that is to be taken from whoever did. */
const ABANDONED_AFTER_MS = 5_000;
const ABANDONED_LOOK_MS = 250;

/**
 * Refuses a slot that somebody follows: that is in use, or comes into use, or moves, while it is looked at. A walsender that has just lost its
 * client may hold the slot for a moment, and a client that has just lost its walsender may come again.
 *
 * @throws PgsyncError SLOT_ACTIVE; postgres.js' errors
 */
export async function refuseFollowed(sql: Sql, name: string): Promise<void> {
  const held = await lookUntil(sql, name, (slot) => !slot.active);
  if (held !== null && held.active) throw slotActiveError(name, held);
  const moved = (slot: SlotState) => slot.active || slot.confirmedFlushLsn !== held?.confirmedFlushLsn;
  const last = await lookUntil(sql, name, moved);
  if (last !== null && moved(last)) throw slotActiveError(name, last);
}

/** Looks at a slot for a while, or until it is found so; null where it is gone. */
async function lookUntil(
  sql: Sql,
  name: string,
  isSo: (slot: SlotState) => boolean,
): Promise<SlotState | null> {
  const deadline = performance.now() + ABANDONED_AFTER_MS;
  for (;;) {
    const slot = await inspectSlot(sql, name);
    if (slot === null || isSo(slot) || performance.now() > deadline) return slot;
    await delay(ABANDONED_LOOK_MS);
  }
}
