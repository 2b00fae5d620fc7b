/**
 * What tests need of the inside of a run. No option, variable or message sets anything here, only code in this process that
 * imports this file, and nothing in src does more than ask or tell.
 *
 * Safeguards can be left out, one at a time, to see that the proof of docs/correctness.md would notice: an oracle that
 * never fails proves nothing. And a process can be killed or frozen where a crash would hurt the most (docs/faults.md).
 */

/** A safeguard, by its name in docs/correctness.md. */
export type FaultPoint =
  /** A row that moves marks the documents that it leaves. */
  | "old-link-lookup"
  /** Nothing is built before all its transactions are visible. */
  | "visibility-check"
  /** A newer document is not overwritten by an older one. */
  | "version-guard"
  /** A document is never in two requests at once. */
  | "in-flight-lock";

const leftOut = new Set<FaultPoint>();

/** Whether a test has left a safeguard out. */
export function isLeftOut(point: FaultPoint): boolean {
  return leftOut.has(point);
}

/** Leaves a safeguard out, for the whole process, until what it returns is disposed of. For tests only. */
export function leaveOut(point: FaultPoint): Disposable {
  leftOut.add(point);
  return { [Symbol.dispose]: () => void leftOut.delete(point) };
}

/** A place where a process can be killed or frozen. */
export type Milestone = WayMilestone | ResyncMilestone;

/** One on the way of a change or of a chunk of the initial load, in the order in which they are come to. */
export type WayMilestone =
  /** Documents are built, and nothing of them is sent. */
  | "built"
  /** A request is about to be sent. */
  | "before-bulk"
  /** A request is answered, and nothing of that is written down. */
  | "after-bulk"
  /** A part of a chunk of the initial load is acknowledged. */
  | "in-chunk"
  /** A chunk is acknowledged, and that is not recorded. */
  | "before-chunk-done"
  /** The position may move, and is not stored. */
  | "before-checkpoint"
  /** The position is stored, and the server is not told. */
  | "before-confirm";

/** One between a loss and the load that mends it, in the order in which they are come to. */
export type ResyncMilestone =
  /** The file tells of the loss, and that it is being mended. */
  | "loss-noted"
  /** The slot is given up. */
  | "slot-dropped"
  /** Indices count as not loaded, and hold no document that could not be written again. */
  | "indices-unloaded"
  /** The file is as new. */
  | "file-emptied"
  /** The new slot is there, and its position is not stored. */
  | "slot-made";

let onReached: (milestone: Milestone) => void = () => {};

/** Tells whoever waits for it, at once, that a milestone is reached. */
export function reached(milestone: Milestone): void {
  onReached(milestone);
}

/** Calls `hook` at each milestone, in the middle of the work, until what it returns is disposed of. For tests only. */
export function atMilestones(hook: (milestone: Milestone) => void): Disposable {
  const before = onReached;
  onReached = hook;
  return { [Symbol.dispose]: () => void (onReached = before) };
}
