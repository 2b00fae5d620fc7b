/** How far an initial load is, by its checkpoint file, between two runs. */
import assert from "node:assert/strict";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";

/** What the checkpoint file says of the load of an index. */
export interface LoadProgress {
  readonly finished: boolean;
  /** Chunks in the plan; 0 where there is none yet. */
  readonly planned: number;
  /** The numbers of the chunks that are done. */
  readonly done: ReadonlySet<number>;
}

/** Reads a checkpoint file that nobody holds; nothing is done where there is no file yet. */
export function loadProgress(checkpointFile: string, index: string): LoadProgress {
  using checkpoint = Checkpoint.open(checkpointFile);
  const load = checkpoint.load(index);
  const chunks = load?.chunks ?? [];
  return {
    finished: load?.finished === true,
    planned: chunks.length,
    done: new Set(chunks.filter((chunk) => chunk.done).map((chunk) => chunk.number)),
  };
}

/** The load has not started over: its plan is kept, and chunks that were done stay done. */
export function assertGoesOn(before: LoadProgress, now: LoadProgress): void {
  if (before.planned === 0) return;
  assert.equal(now.planned, before.planned, "the plan of the load is kept");
  assert.deepEqual([...before.done].filter((chunk) => !now.done.has(chunk)), [], "chunks stay done");
}
