import { PgsyncError } from "../errors/error.ts";
import { errorContext, type Sql } from "../postgres/connect.ts";
import { postgresError, sqlStateOf } from "../postgres/errors.ts";
import { delay } from "../retry/backoff.ts";
import { assertUsableSlot, inspectSlot, slotActiveError } from "./slot.ts";

/** The walsender that held a slot. */
export interface EndedHolder {
  readonly pid: number;
  /** Its application name; null where we may not see it. */
  readonly application: string | null;
}

const INSUFFICIENT_PRIVILEGE = "42501";
/** How long the server gets to end a walsender that was told to; one that is sending looks up only now and then. */
const END_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 100;

/**
 * Ends the walsender that holds a slot, whatever its client is doing, and waits until it is gone. A client that lives connects again.
 *
 * @param sql an admin pool
 * @returns null where nobody held the slot
 * @throws PgsyncError SLOT_MISSING, SLOT_MISMATCH, SLOT_LOST; PRIVILEGE_MISSING; SLOT_ACTIVE where the walsender did not end; else as `postgresError`
 */
export async function endHolder(sql: Sql, slot: string, database: string): Promise<EndedHolder | null> {
  try {
    const found = await inspectSlot(sql, slot);
    assertUsableSlot(found, slot, database);
    const { activePid: pid, activeApplication: application } = found;
    if (pid === null) return null;
    await sql`SELECT pg_catalog.pg_terminate_backend(${pid})`;
    for (const deadline = performance.now() + END_WITHIN_MS;; await delay(LOOK_EVERY_MS)) {
      const now = await inspectSlot(sql, slot);
      if (now?.activePid !== pid) return { pid, application };
      if (performance.now() > deadline) throw slotActiveError(slot, now);
    }
  } catch (thrown) {
    const error = postgresError(thrown, errorContext(sql, `end the walsender of the slot "${slot}"`));
    if (sqlStateOf(thrown) !== INSUFFICIENT_PRIVILEGE) throw error;
    const { user } = errorContext(sql).options;
    throw new PgsyncError("PRIVILEGE_MISSING", error.message, {
      remedy:
        "Connect as the role that the walsender belongs to, or have a superuser run: GRANT pg_signal_backend TO " +
        `"${user.replaceAll('"', '""')}"; (the walsender of a superuser can be ended by a superuser only).`,
      cause: thrown,
    });
  }
}
