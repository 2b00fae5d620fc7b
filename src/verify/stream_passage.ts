import type { ServerClock } from "../documents/server_clock.ts";
import type { SourceSession } from "../documents/source_session.ts";
import { PgsyncError } from "../errors/error.ts";
import { formatLsn, type Lsn } from "../replication/lsn.ts";
import { assertUsableSlot, inspectSlot, type SlotState } from "../replication/slot.ts";
import { delay } from "../retry/backoff.ts";

/** How often the slot is looked at: from 20 ms, doubling, to 500 ms. */
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 500;

/** What a passage works with. */
export interface StreamPassageOptions {
  readonly session: SourceSession;
  readonly clock: ServerClock;
  readonly slot: string;
  /** How long the slot may stand still, in seconds. */
  readonly patienceSeconds: number;
  readonly onFault: (fault: PgsyncError) => void;
  /** Told how many bytes of WAL the stream is behind, while it is waited for. */
  readonly onWait?: (bytes: number) => void;
}

/**
 * Waits for the sync of another process, which holds the slot and the checkpoint file: all that is known of it is how far
 * it has confirmed its slot. It confirms what the search engine has acknowledged.
 */
export class StreamPassage {
  constructor(private readonly options: StreamPassageOptions) {}

  /** Whether a sync follows the slot now. @throws PgsyncError of PostgreSQL that is not temporary; the signal's reason */
  async isFollowed(signal: AbortSignal): Promise<boolean> {
    return (await this.#look(signal))?.active === true;
  }

  /**
   * Waits until the sync has carried out every change that could be seen before this call.
   *
   * @throws PgsyncError STREAM_STALLED where it does not move; SLOT_MISSING, SLOT_LOST; others of PostgreSQL; the signal's
   *   reason
   */
  async passPresent(signal: AbortSignal): Promise<void> {
    const { session, clock, onFault, onWait } = this.options;
    // Its commit flushes all that was written before, what others commit without waiting for the disk included; and it
    // is something for the stream to carry.
    const target = await session.untilDone(
      () => clock.writeSomething(),
      "write a logical message",
      onFault,
      signal,
    );
    let confirmed: Lsn = 0n;
    let movedAt = performance.now();
    for (let pause = FIRST_PAUSE_MS;; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      const slot = await this.#look(signal);
      assertUsableSlot(slot, this.options.slot, session.database);
      const now = slot.confirmedFlushLsn ?? 0n;
      if (now >= target) return;
      if (now > confirmed) {
        confirmed = now;
        movedAt = performance.now();
      }
      onWait?.(Number(target - confirmed));
      if (performance.now() - movedAt > this.options.patienceSeconds * 1000) {
        throw this.#stalled(slot, target);
      }
      await delay(pause, signal);
    }
  }

  async #look(signal: AbortSignal): Promise<SlotState | null> {
    const { session, slot, onFault } = this.options;
    return await session.untilDone(
      () => inspectSlot(session.lookups, slot),
      "look at the replication slot",
      onFault,
      signal,
    );
  }

  #stalled({ name, active, confirmedFlushLsn }: SlotState, target: Lsn): PgsyncError {
    const { patienceSeconds } = this.options;
    return new PgsyncError(
      "STREAM_STALLED",
      `The sync that follows the slot "${name}" has confirmed nothing for ${patienceSeconds} s: it stands at ` +
        `${formatLsn(confirmedFlushLsn ?? 0n)}, and has to pass ${
          formatLsn(target)
        } before what differs can be judged` +
        `${active ? "" : " (nobody follows the slot now)"}.`,
    );
  }
}
