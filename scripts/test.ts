/**
 * `deno task test [paths and options of deno test]`: starts the servers once, runs all tests or those named, then those of
 * tests/runtime that run under Bun, and ends with the line `N passed, N failed`. Exits with 1 where one failed or none ran.
 * What stands in a folder named `long` runs only where that folder, or one above it, is named; `deno task test:faults` does so.
 *
 * Most tests wait for servers more than they compute, so two lanes run batches of files side by side, each on servers of its own.
 * PGSYNC_TEST_LANES sets another number.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { bunPath } from "./bun.ts";
import { PROJECT } from "./project.ts";
import { beforeTheEnd, runScript, runToEnd } from "./servers/process.ts";
import { batchesOf, hasLongTests, selectTests } from "./tests/batches.ts";
import { sumOf, type TestResult } from "./tests/report.ts";
import { runTests, type TestRun } from "./tests/runner.ts";
import { startTestServers } from "./tests/servers.ts";

/** A batch that takes longer is taken to hang. */
const TIMEOUT_MS = 20 * 60_000;
/** The same where long tests are among them. */
const LONG_TIMEOUT_MS = 180 * 60_000;
/** The tests of the library in this very process; they run a second time under Bun. */
const IN_PROCESS = ["tests/runtime/library.test.ts", "tests/examples/library.test.ts"];

await runScript(async () => {
  const start = Date.now();
  const { files, options } = selectTests(process.argv.slice(2));
  const runs = await runsOf(files, options);
  const lanes = Math.min(laneCount(), runs.length);
  const reports = mkdtempSync(join(tmpdir(), "pgsync-edge-reports-"));
  beforeTheEnd(() => Promise.resolve(rmSync(reports, { recursive: true, force: true })));

  // Once for all, in place of once in every batch.
  await runToEnd({ command: process.execPath, args: ["check", "--quiet", ...files], cwd: PROJECT });
  const environments = await startTestServers(files, lanes);
  console.log(`servers ready after ${seconds(start)}, ${lanes === 1 ? "one lane" : `${lanes} lanes`}`);

  const results: TestResult[] = [];
  const waiting = [...runs];
  await Promise.all(environments.map(async (env) => {
    for (let run = waiting.shift(); run !== undefined; run = waiting.shift()) {
      results.push(await runTests(run, reports, env, lanes === 1));
    }
  }));

  const { passed, failed, failures } = sumOf(results);
  console.log(`\n${files.length} test files in ${seconds(start)}`);
  if (failures.length > 0) console.log(["failed:", ...failures].join("\n  "));
  // The last line, after everything that stopping the servers may print.
  process.on("exit", () => console.log(`${passed} passed, ${failed} failed`));
  return failed === 0 && passed > 0 ? 0 : 1;
});

/** The files in batches under Deno, then those that run under Bun too. */
async function runsOf(files: readonly string[], options: readonly string[]): Promise<TestRun[]> {
  const runs: TestRun[] = batchesOf(files).map((batch) => ({
    command: process.execPath,
    args: ["test", "-A", "--no-check", ...options, ...batch],
    reportOption: "--junit-path",
    timeoutMs: hasLongTests(batch) ? LONG_TIMEOUT_MS : TIMEOUT_MS,
  }));
  const again = IN_PROCESS.filter((file) => files.includes(file)).map((file) => `./${file}`);
  if (again.length > 0) {
    runs.push({
      command: await bunPath(),
      args: ["test", "--timeout=60000", "--reporter=junit", ...again],
      reportOption: "--reporter-outfile",
      timeoutMs: TIMEOUT_MS,
    });
  }
  return runs;
}

/** How many batches run side by side: two where the machine has two cores. */
function laneCount(): number {
  const named = Number(process.env["PGSYNC_TEST_LANES"] ?? "");
  return Number.isSafeInteger(named) && named > 0 ? named : Math.min(2, availableParallelism());
}

function seconds(since: number): string {
  return `${((Date.now() - since) / 1000).toFixed(0)} s`;
}
