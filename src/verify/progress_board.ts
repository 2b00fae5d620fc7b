import type { VerifyProgress } from "./verification.ts";

/** Holds the figures of one index's progress. */
export class ProgressBoard {
  #now: VerifyProgress;

  constructor(index: string, estimate: number, private readonly tell: (progress: VerifyProgress) => void) {
    this.#now = {
      index,
      phase: "comparing",
      compared: 0,
      listed: 0,
      estimate,
      candidates: 0,
      behindBytes: 0,
    };
  }

  /** The figures. */
  get now(): VerifyProgress {
    return this.#now;
  }

  /** Changes some figures. */
  update(changes: Partial<VerifyProgress>): void {
    this.#now = { ...this.#now, ...changes };
    this.tell(this.#now);
  }
}
