/**
 * `deno task bench`: pgsync against the floor, on servers of its own, in one run. Prints tables of medians and ratios, tells which targets
 * are met, and writes all figures as JSON and a chart into docs/performance/.
 */
import { cpus, loadavg, totalmem } from "node:os";
import { relative } from "node:path";
import process from "node:process";
import { build } from "../build.ts";
import { Advice, runScript } from "../servers/process.ts";
import { progressView } from "../servers/progress.ts";
import { Bench, type Workload } from "./bench.ts";
import { pythonTools } from "./candidates/python_pgsync.ts";
import { HELP, readOptions } from "./options.ts";
import { report } from "./report.ts";
import type { WorkloadResult } from "./result.ts";
import { type EmptyServers, startEmptyServers } from "./servers.ts";
import { store } from "./store.ts";

await runScript(async () => {
  const options = readOptions(process.argv.slice(2));
  if (options === null) {
    console.log(HELP);
    return 0;
  }
  if (process.platform !== "linux") throw new Advice("The benchmark reads /proc, so it runs on Linux only.");
  const tools = options.withPython ? await pythonTools() : null;
  const executable = options.fromSources ? null : options.executable ?? await build();
  const view = progressView();
  const empty = await startEmptyServers({}, view);
  const log = (line: string) => console.error(line);
  const bench = new Bench({ ...options, executable, log }, empty, view, tools);
  const results: WorkloadResult[] = [];
  for (const workload of options.workloads) {
    log(`## ${workload.letter}: ${workload.title}`);
    results.push(await found(workload, bench, empty, options.scale));
    // What takes hours is not lost where a later workload fails.
    store(options.folder, results);
  }
  console.log(report(results));
  console.log(relative(process.cwd(), options.folder));
  return 0;
});

async function found(
  workload: Workload,
  bench: Bench,
  empty: EmptyServers,
  scale: number,
): Promise<WorkloadResult> {
  const { letter, name, title } = workload;
  const before = {
    date: new Date().toISOString(),
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    loadBefore: loadavg()[0] ?? NaN,
    versions: { ...empty.versions },
  };
  return { letter, name, title, ...before, scale, ...await workload.run(bench) };
}
