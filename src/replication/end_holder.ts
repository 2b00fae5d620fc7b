import { PgsyncError } from "../errors/error.ts";
import { errorContext, type Sql } from "../postgres/connect.ts";
import { postgresError, sqlStateOf } from "../postgres/errors.ts";
import { delay } from "../retry/backoff.ts";
import { assertUsableSlot, inspectSlot, slotActiveError } from "./slot.ts";
import { inspectMaker, makerError } from "./slot_maker.ts";

/** The session that kept others from a slot. */
export interface EndedHolder {
  /** It held the slot; or it kept others from making it. */
  readonly did: "held" | "made";
  readonly pid: number;
  /** Its application name; null where we may not see it. */
  readonly application: string | null;
}

const INSUFFICIENT_PRIVILEGE = "42501";
/** How long the server gets to end a session that was told to; one that is sending looks up only now and then. */
const END_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 100;

/**
 * Ends the walsender that holds a slot, whatever its client is doing, and waits until it is gone. A client that lives connects again. Where a process
 * makes the slot, that is the session that keeps others from it, and the one that has begun it.
 *
 * @param sql an admin pool of the slot's database
 * @returns the sessions that were ended; empty where nobody held the slot
 * @throws PgsyncError SLOT_MISSING, SLOT_MISMATCH, SLOT_LOST where nobody makes it; PRIVILEGE_MISSING; SLOT_ACTIVE where a session did not end;
 *   else as `postgresError`
 */
export async function endHolder(sql: Sql, slot: string, database: string): Promise<EndedHolder[]> {
  const ended: EndedHolder[] = [];
  try {
    const maker = await inspectMaker(sql, slot);
    if (maker !== null) {
      await sql`SELECT pg_catalog.pg_terminate_backend(${maker.pid})`;
      await gone(async () => {
        const now = await inspectMaker(sql, slot);
        return now?.pid === maker.pid ? makerError(slot, now) : null;
      });
      ended.push({ did: "made", ...maker });
    }
    const found = await inspectSlot(sql, slot);
    if (maker === null) assertUsableSlot(found, slot, database);
    const { activePid: pid = null, activeApplication: application = null } = found ?? {};
    if (pid === null) return ended;
    await sql`SELECT pg_catalog.pg_terminate_backend(${pid})`;
    await gone(async () => {
      const now = await inspectSlot(sql, slot);
      return now?.activePid === pid ? slotActiveError(slot, now) : null;
    });
    return [...ended, { did: "held", pid, application }];
  } catch (thrown) {
    const error = postgresError(thrown, errorContext(sql, `end the session that keeps the slot "${slot}"`));
    if (sqlStateOf(thrown) !== INSUFFICIENT_PRIVILEGE) throw error;
    const { user } = errorContext(sql).options;
    throw new PgsyncError("PRIVILEGE_MISSING", error.message, {
      remedy:
        "Connect as the role that the session belongs to, or have a superuser run: GRANT pg_signal_backend TO " +
        `"${user.replaceAll('"', '""')}"; (a session of a superuser can be ended by a superuser only).`,
      cause: thrown,
    });
  }
}

/** Waits until a session is gone. @param lives null where it is gone @throws what `lives` says where it stays */
async function gone(lives: () => Promise<PgsyncError | null>): Promise<void> {
  for (const deadline = performance.now() + END_WITHIN_MS;; await delay(LOOK_EVERY_MS)) {
    const error = await lives();
    if (error === null) return;
    if (performance.now() > deadline) throw error;
  }
}
