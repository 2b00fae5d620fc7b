import { getLogger } from "@logtape/logtape";
import { z } from "zod";
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

/** How long a walsender that has just lost its client may hold a slot. */
const LET_GO_WITHIN_MS = 5_000;
/** A slot that is of no use to anybody any more is given up when nobody has followed it for so long. */
export const USELESS_AFTER_MS = 5_000;
/** One that is of use: longer than a run whose stream was cut waits before it comes again (`RECONNECT`; a refused login is waited for for longer). */
export const ABANDONED_AFTER_MS = 35_000;
const LOOK_EVERY_MS = 250;

const logger = getLogger(["pgsync", "replication"]);

/**
 * Refuses a slot that somebody follows: that is in use, or has been of late, or comes into use, or moves, while it is looked at. From
 * PostgreSQL 17 on the server tells since when it is free, and only the rest is waited for.
 *
 * @param freeForMs how long nobody may have followed it
 * @throws PgsyncError SLOT_ACTIVE; postgres.js' errors
 */
export async function refuseFollowed(sql: Sql, name: string, freeForMs: number): Promise<void> {
  const held = await lookUntil(sql, name, (slot) => !slot.active, LET_GO_WITHIN_MS);
  if (held !== null && held.active) throw slotActiveError(name, held);
  const restMs = freeForMs - await inactiveForMs(sql, name);
  if (restMs > 0) {
    logger.info("it is looked for {seconds} s whether somebody follows the slot {slot}", {
      seconds: Math.ceil(restMs / 1000),
      slot: name,
    });
  }
  const moved = (slot: SlotState) => slot.active || slot.confirmedFlushLsn !== held?.confirmedFlushLsn;
  const last = await lookUntil(sql, name, moved, restMs);
  if (last !== null && moved(last)) throw slotActiveError(name, last);
}

const inactiveRow = z.tuple([z.string().nullable()]);

/** For how long a slot has not been in use, in milliseconds; 0 where it is, and where the server does not tell (before PostgreSQL 17). */
async function inactiveForMs(sql: Sql, name: string): Promise<number> {
  // Asked for by JSON, a column that is missing is null instead of an error.
  const [row] = await sql`
    SELECT (1000 * extract(epoch FROM clock_timestamp() -
      (to_jsonb(slot) ->> 'inactive_since')::timestamptz))::text
    FROM pg_catalog.pg_replication_slots AS slot
    WHERE slot.slot_name = ${name}`.values();
  const ms = row === undefined ? null : inactiveRow.parse(row)[0];
  // The server's clock may have been put back.
  return ms === null ? 0 : Math.max(0, Number(ms));
}

/** Looks at a slot for a while, at least once, or until it is found so; null where it is gone. */
async function lookUntil(
  sql: Sql,
  name: string,
  isSo: (slot: SlotState) => boolean,
  limitMs: number,
): Promise<SlotState | null> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const slot = await inspectSlot(sql, name);
    if (slot === null || isSo(slot) || performance.now() > deadline) return slot;
    await delay(LOOK_EVERY_MS);
  }
}
