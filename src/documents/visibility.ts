import { isLeftOut } from "../fault_points.ts";
import type { Lsn } from "../replication/lsn.ts";

/**
 * The race that this closes: the stream can carry a commit before other sessions can see it, because the walsender reads
 * WAL that is flushed, while the row becomes visible only when its backend leaves the running set, and that may be after
 * a synchronous standby has answered. A document built in that gap would show the old state, and no later event would
 * correct it.
 */

/** A snapshot as `pg_current_snapshot()` prints it: `xmin:xmax:xip,xip…`, 64-bit transaction ids
 * (https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT). */
export interface Snapshot {
  /** Every transaction before this one is over. */
  readonly xmin: bigint;
  /** This transaction and all after it had not ended. */
  readonly xmax: bigint;
  /** Transactions between the two that were still running. */
  readonly running: ReadonlySet<bigint>;
}

const PATTERN = /^(\d+):(\d+):((?:\d+(?:,\d+)*)?)$/;

/**
 * Reads the text form of a snapshot.
 *
 * @throws RangeError where the text is not one
 */
export function parseSnapshot(text: string): Snapshot {
  const match = PATTERN.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) throw new RangeError(`not a snapshot: ${text}`);
  const running = match[3] === undefined || match[3] === "" ? [] : match[3].split(",");
  return { xmin: BigInt(match[1]), xmax: BigInt(match[2]), running: new Set(running.map(BigInt)) };
}

/**
 * Extends the 32 bits of a transaction id, as Begin messages carry it, by the epoch that brings it nearest to the
 * snapshot: ids in use are never 2^31 apart.
 */
export function extendTransactionId(id: number, snapshot: Snapshot): bigint {
  const span = 1n << 32n;
  const candidate = (snapshot.xmax / span) * span + BigInt(id);
  const half = span / 2n;
  if (candidate > snapshot.xmax + half && candidate >= span) return candidate - span;
  if (candidate + half < snapshot.xmax) return candidate + span;
  return candidate;
}

/** Whether a transaction that is known to have committed can be seen in a snapshot. */
export function isVisible(id: bigint, snapshot: Snapshot): boolean {
  if (id < snapshot.xmin) return true;
  return id < snapshot.xmax && !snapshot.running.has(id);
}

/** A look at the server: its snapshot, and the end of its WAL on disk, read after the snapshot was taken. */
export interface Look {
  readonly snapshot: Snapshot;
  readonly lsn: Lsn;
}

/** How often the server is asked again while a commit is not visible: from 1 ms, doubling, to 50 ms. */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;

/**
 * Waits until all transactions can be seen by new snapshots.
 *
 * @param ids 32-bit ids of committed transactions
 * @param look asks the server
 * @param pause waits for so many milliseconds; rejects when the run is to end
 * @returns the WAL position read with the snapshot that saw them all: whatever was built without one of them read its own
 * position earlier
 */
export async function waitUntilVisible(
  ids: Iterable<number>,
  look: () => Promise<Look>,
  pause: (ms: number) => Promise<void>,
): Promise<Lsn> {
  let waiting = isLeftOut("visibility-check") ? [] : [...ids];
  for (let ms = FIRST_PAUSE_MS;; ms = Math.min(ms * 2, LONGEST_PAUSE_MS)) {
    const { snapshot, lsn } = await look();
    waiting = waiting.filter((id) => !isVisible(extendTransactionId(id, snapshot), snapshot));
    if (waiting.length === 0) return lsn;
    await pause(ms);
  }
}
