import { join } from "node:path";
import type { RunOptions } from "../options.ts";

/** The checkpoint file of a database: one for each slot. */
export function checkpointPath(options: Pick<RunOptions, "checkpointFolder">, slot: string): string {
  return join(options.checkpointFolder, `${slot}.checkpoint`);
}
