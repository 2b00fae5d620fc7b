import { PgsyncError } from "../errors/error.ts";
import type { RunOptions } from "./options.ts";
import type { RunPlan } from "./plan.ts";

/**
 * Says what a run would do, without doing it.
 *
 * @throws PgsyncError
 */
export function planRun(_options: RunOptions): Promise<RunPlan> {
  return Promise.reject(new PgsyncError("INTERNAL", "plan is not built yet."));
}
