/**
 * Safeguards that a test can leave out, one at a time, to see that the proof of docs/correctness.md would notice: an oracle that
 * never fails proves nothing. All are on; no option, variable or message leaves one out, only code in this process that
 * imports this file, and nothing in src does more than ask.
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
