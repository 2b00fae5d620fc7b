import { PgsyncError } from "../../errors/error.ts";
import type { ServerIdentity } from "../../postgres/server_identity.ts";
import { HeldSlot, type HeldSlotSettings } from "../../replication/held_slot.ts";
import type { Lsn } from "../../replication/lsn.ts";
import { MakingLock } from "./making_lock.ts";

/** Which slot, of which server. */
export type SlotAddress = Omit<HeldSlotSettings, "position" | "startLsn" | "server" | "onAsk">;

/**
 * The slot in the hands of a process that was started as a standby: it is held from before anything is written, and between two
 * times of following it, so that no other standby comes in between.
 */
export class SlotClaim implements AsyncDisposable {
  #held: HeldSlot | null = null;
  #making: MakingLock | null = null;
  readonly #lost = new AbortController();
  /** Gets the process ids of all sessions that the slot is asked for with, those of the followers too. */
  readonly walsenders = new Set<number>();

  constructor(private readonly address: SlotAddress) {}

  /** Aborted when a session that holds the slot, or keeps others from making it, ends by itself: another process may have it from then on. */
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
    const settings = {
      ...this.address,
      position,
      startLsn: 0n,
      onAsk: (walsender: number) => this.walsenders.add(walsender),
      ...(server === null ? {} : { server }),
    };
    const onLost = () => this.#lost.abort(sessionLost(`held the slot "${this.address.slot}"`));
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
    this.#making ??= await MakingLock.take(this.address, () => this.#notAlone(), signal);
    return this.#making !== null;
  }

  #notAlone(): void {
    this.#making = null;
    this.#lost.abort(sessionLost(`kept other processes from making the slot "${this.address.slot}"`));
  }

  async #made(): Promise<void> {
    const making = this.#making;
    this.#making = null;
    await making?.[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
    await this.#made();
  }
}

function sessionLost(what: string): PgsyncError {
  return new PgsyncError("POSTGRES_UNREACHABLE", `The session that ${what} has ended.`);
}
