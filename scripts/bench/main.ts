/**
 * `deno task bench`: pgsync against the floor, on servers of its own, in one run. Prints tables of medians and ratios and writes all
 * figures as JSON into dist/bench/.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join, relative, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { loadBookshop } from "../../examples/bookshop/load.ts";
import { build } from "../build.ts";
import { PROJECT } from "../project.ts";
import { Advice, runScript } from "../servers/process.ts";
import { progressView } from "../servers/progress.ts";
import { startDaemon } from "./candidates/daemon.ts";
import { Floor } from "./candidates/floor.ts";
import { Pgsync } from "./candidates/pgsync.ts";
import { type BenchResult, report } from "./report.ts";
import { type Servers, startServers } from "./servers.ts";
import { initialLoad } from "./workloads/initial_load.ts";
import { latency } from "./workloads/latency.ts";
import { startUp } from "./workloads/start_up.ts";
import { verification } from "./workloads/verification.ts";

const WORKLOADS = ["load", "verify", "latency", "startup"] as const;
type Workload = typeof WORKLOADS[number];

const HELP = `deno task bench [options]

Starts PostgreSQL and Elasticsearch, fills a bookshop, and measures pgsync against the floor: COPY of the finished
documents, posted to _bulk by a loop that does nothing else. Linux only.

  --books <n>             how many books (default: 200000)
  --rounds <n>            how often each candidate loads them (default: 3)
  --changes <n>           how many changes the latency is measured with (default: 200)
  --starts <n>            how often pgsync is started (default: 10)
  --only <workloads>      of ${WORKLOADS.join(",")} (default: all)
  --executable <path>     measure this executable (default: dist/pgsync, built first)
  --from-sources          measure the sources, under Deno
  --floor-bytes <n>       size of the floor's requests (default: 5000000)
  --floor-requests <n>    how many the floor has in flight (default: 3)
  --help

Variables BENCH_X are passed to pgsync as X: BENCH_NUM_WORKERS=1.`;

interface Options {
  readonly books: number;
  readonly rounds: number;
  readonly changes: number;
  readonly starts: number;
  readonly only: readonly Workload[];
  readonly executable: string | null;
  readonly fromSources: boolean;
  readonly floorBytes: number;
  readonly floorRequests: number;
}

await runScript(async () => {
  const options = readOptions(process.argv.slice(2));
  if (options === null) {
    console.log(HELP);
    return 0;
  }
  if (process.platform !== "linux") throw new Advice("The benchmark reads /proc, so it runs on Linux only.");
  const executable = options.fromSources ? null : options.executable ?? await build();
  const view = progressView();
  const servers = await startServers({
    // The database that examples/bookshop/schema.yaml names.
    name: "bookshop",
    fill: async (url) => {
      const onProgress = (table: string, rows: number) =>
        table === "book" && view.rows("Books", rows, options.books);
      await loadBookshop({ url, books: options.books, onProgress });
    },
  }, view);
  const pgsync = new Pgsync(servers, executable);
  const result = await run(options, servers, pgsync, (line) => console.error(line));
  console.log(report(result));
  console.log(write(result));
  return 0;
});

async function run(
  options: Options,
  servers: Servers,
  pgsync: Pgsync,
  log: (line: string) => void,
): Promise<BenchResult> {
  const wants = (workload: Workload) => options.only.includes(workload);
  const floor = new Floor(servers, await pgsync.plan(), {
    bytesARequest: options.floorBytes,
    requestsInFlight: options.floorRequests,
  });
  const result: { -readonly [key in keyof BenchResult]: BenchResult[key] } = {
    date: new Date().toISOString(),
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    versions: servers.versions,
    books: options.books,
  };
  if (wants("load")) {
    result.load = await initialLoad(servers, [floor, pgsync], pgsync, {
      documents: options.books,
      rounds: options.rounds,
      log,
    });
  } else await pgsync.load();
  if (wants("verify")) {
    const { books: documents, rounds } = options;
    result.verification = await verification(servers, pgsync, { documents, rounds, log });
  }
  if (wants("startup")) result.startUp = await startUp(pgsync, options.starts);
  if (wants("latency")) {
    const daemon = await startDaemon(pgsync);
    result.latency = await latency(servers, daemon, { ...options, index: pgsync.index });
    await daemon.stop();
  }
  return result;
}

/** Writes the result into dist/bench and returns the file's path, as seen from the project. */
function write(result: BenchResult): string {
  const folder = join(PROJECT, "dist", "bench");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${result.date.replaceAll(":", "")}.json`);
  writeFileSync(file, JSON.stringify(result, null, 2) + "\n");
  return relative(PROJECT, file);
}

/** The options, or null where help is wanted. @throws Advice where they cannot be read */
function readOptions(args: string[]): Options | null {
  try {
    const { values } = parseArgs({
      args,
      options: {
        books: { type: "string", default: "200000" },
        rounds: { type: "string", default: "3" },
        changes: { type: "string", default: "200" },
        starts: { type: "string", default: "10" },
        only: { type: "string", default: WORKLOADS.join(",") },
        executable: { type: "string" },
        "from-sources": { type: "boolean", default: false },
        "floor-bytes": { type: "string", default: "5000000" },
        "floor-requests": { type: "string", default: "3" },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) return null;
    return {
      books: count("--books", values.books, 100),
      rounds: count("--rounds", values.rounds, 1),
      changes: count("--changes", values.changes, 1),
      starts: count("--starts", values.starts, 1),
      only: values.only.split(",").map(workload),
      executable: values.executable === undefined ? null : resolve(values.executable),
      fromSources: values["from-sources"],
      floorBytes: count("--floor-bytes", values["floor-bytes"], 1),
      floorRequests: count("--floor-requests", values["floor-requests"], 1),
    };
  } catch (error) {
    throw new Advice(`${error instanceof Error ? error.message : error}\n\n${HELP}`);
  }
}

function count(name: string, text: string, least: number): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= least) return number;
  throw new Error(`${name} must be a whole number, ${least} at least.`);
}

function workload(name: string): Workload {
  const found = WORKLOADS.find((known) => known === name);
  if (found === undefined) throw new Error(`--only: there is no workload "${name}".`);
  return found;
}
