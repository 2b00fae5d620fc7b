import { PgsyncError } from "../errors/error.ts";
import { connectPostgres, errorContext } from "../postgres/connect.ts";
import { postgresError } from "../postgres/errors.ts";
import type { ServerIdentity } from "../postgres/server_identity.ts";
import { HeldSlot, type HeldSlotSettings } from "../replication/held_slot.ts";
import type { Lsn } from "../replication/lsn.ts";
import { orAborted } from "../retry/abort.ts";

/** Which slot, of which server. */
export type SlotAddress = Omit<HeldSlotSettings, "startLsn" | "server">;

/** With the name of the slot the key of the advisory lock: "pgsy" in ASCII. */
const LOCK_CLASS = 0x70677379;

/**
 * The slot in the hands of a process that was started as a standby: it is held from before anything is written, and between two
 * times of following it, so that no other standby comes in between.
 */
export class SlotClaim implements AsyncDisposable {
  #held: HeldSlot | null = null;
  #making: AsyncDisposable | null = null;
  readonly #lost = new AbortController();

  constructor(private readonly address: SlotAddress) {}

  /** Aborted when the session that holds the slot ends by itself. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Whether a session of ours holds the slot. Not while it is followed: the session is the follower's then. */
  get isHeld(): boolean {
    return this.#held?.isHeld === true;
  }

  /**
   * Begins to hold the slot, unless it is held.
   *
   * @param position the stored one; 0 for the slot's own
   * @param server as it is known; null: whichever it is
   * @throws PgsyncError as `ReplicationStream.start`: SLOT_ACTIVE where somebody else holds it, CHECKPOINT_BEHIND, SERVER_CHANGED; the signal's reason
   */
  async hold(position: Lsn, server: ServerIdentity | null, signal: AbortSignal): Promise<void> {
    if (this.isHeld) return;
    const settings = { ...this.address, startLsn: position, ...(server === null ? {} : { server }) };
    const onLost = () => this.#lost.abort(sessionLost(this.address.slot));
    this.#held = await HeldSlot.take(settings, onLost, signal);
    // Whoever looks for a slot finds it from now on.
    await this.#made();
  }

  /**
   * The session that holds the slot, to be followed; it is begun where there is none.
   *
   * @throws PgsyncError as `hold`; SERVER_CHANGED where it was begun on another server
   */
  async take(position: Lsn, server: ServerIdentity, signal: AbortSignal): Promise<HeldSlot> {
    await this.hold(position, server, signal);
    const held = this.#held;
    if (held === null) throw new PgsyncError("INTERNAL", "The slot is not held.");
    const { systemIdentifier, timeline } = held.server;
    if (systemIdentifier !== server.systemIdentifier || timeline !== server.timeline) {
      throw new PgsyncError(
        "SERVER_CHANGED",
        `The slot "${this.address.slot}" was taken on another server than the one that its tables were read from.`,
      );
    }
    this.#held = null;
    return held;
  }

  /** Lets go of the slot. */
  async release(): Promise<void> {
    const held = this.#held;
    this.#held = null;
    await held?.release();
  }

  /** Whether no other process makes the slot now. */
  get isMaking(): boolean {
    return this.#making !== null;
  }

  /**
   * Makes sure that no other process makes the slot at the same time, until it is held or let go of. While there is no slot there is nothing else that
   * could be held, so it is an advisory lock of its database.
   *
   * @returns false where another process makes it
   * @throws PgsyncError of PostgreSQL; the signal's reason
   */
  async makesAlone(signal: AbortSignal): Promise<boolean> {
    this.#making ??= await orAborted(lockMaking(this.address), signal);
    return this.#making !== null;
  }

  async #made(): Promise<void> {
    await this.#making?.[Symbol.asyncDispose]();
    this.#making = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
    await this.#made();
  }
}

async function lockMaking({ options, database, slot }: SlotAddress): Promise<AsyncDisposable | null> {
  // A session of its own, whose end frees the lock.
  const sql = connectPostgres(options, { database, purpose: "making", max: 1, kind: "admin" });
  const end = () => sql.end({ timeout: 0 });
  try {
    const [row] = await sql<{ locked: boolean }[]>`
      SELECT pg_catalog.pg_try_advisory_lock(${LOCK_CLASS}, pg_catalog.hashtext(${slot})) AS locked`;
    if (row?.locked === true) return { [Symbol.asyncDispose]: end };
    await end();
    return null;
  } catch (thrown) {
    await end();
    throw postgresError(thrown, errorContext(sql, "take an advisory lock"));
  }
}

function sessionLost(slot: string): PgsyncError {
  return new PgsyncError("POSTGRES_UNREACHABLE", `The session that held the slot "${slot}" has ended.`);
}
