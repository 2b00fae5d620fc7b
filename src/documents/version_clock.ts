import type { Lsn } from "../replication/lsn.ts";
import { documentVersion } from "../search/version.ts";
import type { ServerMoment } from "./source_clock.ts";

/**
 * WAL records begin at multiples of 8 bytes (MAXALIGN), so a position between them leaves three bits free. They number the
 * batches that were made at the same position: a commit that becomes visible writes no WAL, so two batches with
 * different states can meet the same position, and the later one must win.
 */
const STEPS = 8n;

/** The greatest version that a document can rightly have when the WAL ends there: the clock may have given all the steps. */
export function newestVersionAt({ timeline, lsn }: ServerMoment): bigint {
  return documentVersion({ timeline, lsn: lsn + STEPS - 1n, fromStream: true });
}

/** Gives each batch a position for its documents' versions that grows from batch to batch. */
export class VersionClock {
  #last: Lsn = 0n;

  /**
   * The position to make versions of. The batch's documents must be built after this call: then they hold all that any
   * batch with a smaller position was made for.
   *
   * @param lsn the WAL position that was read with the batch's snapshot
   * @returns `lsn`, or up to 7 more where `lsn` has been given before; null where all are used up: the server must
   * write some WAL first
   */
  next(lsn: Lsn): Lsn | null {
    const base = lsn - (lsn % STEPS);
    const next = base > this.#last ? base : this.#last + 1n;
    if (next >= base + STEPS) return null;
    this.#last = next;
    return next;
  }
}
