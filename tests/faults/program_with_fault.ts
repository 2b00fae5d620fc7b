/**
 * `pgsync` from its sources, that sends itself a signal at a milestone (src/fault_points.ts), says so on stderr, and, where it lives on, says which
 * milestones it reaches then. The variables are those of this program alone; the arguments are those of `pgsync`.
 *
 * | variable       | meaning                              |
 * | -------------- | ------------------------------------ |
 * | TEST_MILESTONE | which                                |
 * | TEST_TIMES     | at which time it is reached, from 1  |
 * | TEST_CHUNKS    | counted after so many chunks are done |
 * | TEST_SIGNAL    | SIGKILL or SIGSTOP                   |
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { main } from "../../src/cli/main.ts";
import { atMilestones } from "../../src/fault_points.ts";

const { TEST_MILESTONE, TEST_TIMES, TEST_CHUNKS, TEST_SIGNAL } = process.env;
let left = Number(TEST_TIMES);
let chunksLeft = Number(TEST_CHUNKS ?? 0);
const told = new Set<string>();
atMilestones((milestone) => {
  if (chunksLeft > 0) {
    if (milestone === "before-chunk-done") chunksLeft--;
    return;
  }
  if (left <= 0 && !told.has(milestone)) {
    told.add(milestone);
    writeSync(2, `then reached ${milestone}\n`);
  }
  if (milestone !== TEST_MILESTONE || --left !== 0) return;
  writeSync(2, `reached ${milestone}\n`);
  process.kill(process.pid, TEST_SIGNAL);
});
await main(process.argv.slice(2));
