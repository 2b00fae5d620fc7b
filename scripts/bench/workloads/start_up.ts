/** Workload: how soon the program is there. */
import type { Pgsync } from "../candidates/pgsync.ts";
import { median } from "../measure/statistics.ts";
import { startDaemon } from "../candidates/daemon.ts";

/** Milliseconds from the start of the process; medians. */
export interface StartUpResult {
  readonly starts: number;
  readonly firstLogLine: number;
  /** `/ready` answers 200: on an existing slot and a loaded index, everything caught up. */
  readonly ready: number;
}

/** Starts the program again and again on the slot and index that are there. */
export async function startUp(pgsync: Pgsync, starts: number): Promise<StartUpResult> {
  const firstLines: number[] = [];
  const readies: number[] = [];
  for (let start = 0; start < starts; start++) {
    const daemon = await startDaemon(pgsync);
    firstLines.push(await daemon.firstLineMs);
    readies.push(daemon.readyMs);
    await daemon.stop();
  }
  return { starts, firstLogLine: median(firstLines), ready: median(readies) };
}
