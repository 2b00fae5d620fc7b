import { WorkMemory } from "../documents/work_memory.ts";
import { LEAST_BUDGET, MemoryBudget } from "../memory/budget.ts";
import type { MemoryStatus } from "../status/status.ts";
import type { RunOptions } from "./options.ts";

/** Readers of keys of an index in the stream: batches that are looked up at once. */
const READERS_AN_INDEX = 2;

/** The memory of a run, or of a command: one budget for all that it does. */
export class RunMemory {
  readonly budget: MemoryBudget;
  readonly work: WorkMemory;
  /** Bytes of changes that the stream of each database may have in memory. */
  readonly batchBytes: number;

  /**
   * @param indices that are written or compared at once
   * @param databases of these
   * @throws RangeError where the budget is too small
   */
  constructor(
    run: Pick<
      RunOptions,
      "maxMemoryBytes" | "bulkBytes" | "bulkDocuments" | "bulkConcurrency" | "loadWorkers"
    >,
    indices: number,
    databases: number,
  ) {
    if (!(run.maxMemoryBytes >= LEAST_BUDGET)) {
      throw new RangeError(`maxMemoryBytes is ${run.maxMemoryBytes}; the least is ${LEAST_BUDGET}`);
    }
    this.budget = new MemoryBudget(run.maxMemoryBytes);
    const readers = indices * READERS_AN_INDEX + databases * run.loadWorkers;
    // Those that are sent, and those that the readers of a load collect meanwhile.
    const requests = run.bulkConcurrency + run.loadWorkers;
    this.work = new WorkMemory(this.budget, run, readers, requests);
    this.batchBytes = this.budget.changes.limit / Math.max(1, databases);
  }

  /** What is told of it. */
  get status(): MemoryStatus {
    const { limit, held, most } = this.budget;
    return { limitBytes: limit, heldBytes: held, mostBytes: most };
  }
}
