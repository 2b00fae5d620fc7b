/**
 * `deno task soak`: does the executable take the same memory, files and connections after half an hour of mixed work and faults as
 * after some minutes? On servers of its own. Prints a table, writes all samples as JSON into dist/bench/, and exits 1 where not.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join, relative, resolve } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import type postgres from "postgres";
import { build } from "../build.ts";
import { PROJECT } from "../project.ts";
import { Advice, runScript, runToEnd } from "../servers/process.ts";
import { progressView } from "../servers/progress.ts";
import { type Daemon, startDaemon } from "./candidates/daemon.ts";
import { Pgsync } from "./candidates/pgsync.ts";
import { DATABASE, fillShop, writeShopSchema } from "./large/shop.ts";
import { markdown, megabytes } from "./report.ts";
import { type Servers, startServers } from "./servers.ts";
import { type Sample, sample, valueOf } from "./soak/samples.ts";
import { growthOf, largestDeviation, problems, type Round, rounds } from "./soak/verdict.ts";
import { ROUND_SECONDS, startWork, type Work } from "./soak/work.ts";

const HELP = `deno task soak [options]

Mixed work on three indices (small transactions all the time; in each round of ${ROUND_SECONDS} s a large transaction, fan-outs, a TRUNCATE), with
faults (the search engine restarted and frozen, all sessions terminated). Linux only.

  --minutes <n>           how long (default: 30, at least ${4 * ROUND_SECONDS / 60})
  --items <n>             documents (default: 30000)
  --executable <path>     this executable (default: dist/pgsync, built first)
  --help

Variables BENCH_X are passed to pgsync as X.`;

/** What goes into the JSON file. */
interface SoakResult {
  readonly date: string;
  readonly machine: string;
  readonly versions: Servers["versions"];
  readonly minutes: number;
  readonly items: number;
  /** Small transactions. */
  readonly commits: number;
  readonly problems: readonly string[];
  readonly rounds: readonly Round[];
  readonly samples: readonly Sample[];
}

const SAMPLE_MS = 3_000;
const CATCH_UP_MS = 10 * 60_000;

/** Documents beside the items, one of them with text that is long. */
const FURTHER = [
  {
    index: "soak-towns",
    nodes: {
      table: "town",
      columns: ["id", "name"],
      children: [{
        table: "country",
        columns: ["id", "name"],
        relationship: { type: "one_to_one", variant: "object" },
      }],
    },
  },
  { index: "soak-parts", nodes: { table: "part", columns: ["id", "item_id", "name"] } },
];

const HEAD = ["round", "RSS, mean", "least", "most", "files", "sockets", "sessions", "most in buffers"];

await runScript(async () => {
  const options = readOptions(process.argv.slice(2));
  if (options === null) {
    console.log(HELP);
    return 0;
  }
  if (process.platform !== "linux") throw new Advice("The soak reads /proc, so it runs on Linux only.");
  const executable = options.executable ?? await build();
  const size = { items: options.items, rows: options.items };
  const view = progressView();
  const servers = await startServers({ name: DATABASE, fill: (url) => fillShop(url, size) }, view);
  const pgsync = new Pgsync(servers, executable, writeShopSchema(FURTHER));
  await runToEnd(pgsync.command("--bootstrap", "--listen", "off"));
  const daemon = await startDaemon(pgsync);
  const limit = valueOf(await daemon.metrics(), "pgsync_memory_limit_bytes");
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  const work = startWork(
    servers,
    size,
    (what) => console.error(`${seconds().toFixed(0).padStart(5)} s  ${what}`),
  );
  const samples = await watch(daemon, work, servers.sql, options.minutes * 60, seconds);
  console.error(`${work.commits} small transactions; catching up`);
  await caughtUp(servers.sql, daemon);
  console.error(await runToEnd(pgsync.command("verify")));
  await daemon.stop();

  const all = rounds(samples, ROUND_SECONDS).slice(0, Math.floor(options.minutes * 60 / ROUND_SECONDS));
  const warm = all.slice(Math.max(1, Math.round(all.length / 5)));
  const wrong = problems(warm, limit);
  console.log(markdown(HEAD, all.map(rowOf)).join("\n"));
  console.log(
    `${warm.length} rounds after the warm-up: the mean memory of each is ${
      (100 * largestDeviation(warm)).toFixed(1)
    } % from that of all at most; that of the last third is ${
      (100 * growthOf(warm)).toFixed(1)
    } % from that of the first.`,
  );
  for (const sentence of wrong) console.log(sentence);
  console.log(write({
    date: new Date().toISOString(),
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    versions: servers.versions,
    minutes: options.minutes,
    items: options.items,
    commits: work.commits,
    problems: wrong,
    rounds: all,
    samples,
  }));
  return wrong.length === 0 ? 0 : 1;
});

/** Samples the process while it works. @throws Error where it ends; what the work fails with */
async function watch(
  daemon: Daemon,
  work: Work,
  sql: postgres.Sql,
  limit: number,
  seconds: () => number,
): Promise<Sample[]> {
  const samples: Sample[] = [];
  try {
    // Without the work there is nothing to see; `stop` says why it has ended.
    while (seconds() < limit && !work.hasFailed) {
      const at = seconds();
      const seen = await sample(daemon.pid, at, sql, daemon.metrics);
      if (seen === null) throw new Error(`pgsync has ended after ${at.toFixed(0)} s:\n${daemon.output()}`);
      samples.push(seen);
      await delay(SAMPLE_MS);
    }
  } finally {
    await work.stop();
  }
  return samples;
}

/** Waits until all that was written is acknowledged. */
async function caughtUp(sql: postgres.Sql, daemon: Daemon): Promise<void> {
  const [row] = await sql<{ lsn: string }[]>`SELECT pg_current_wal_insert_lsn()::text AS lsn`;
  await sql`SELECT pg_logical_emit_message(true, 'soak', '')`;
  const since = performance.now();
  for (;;) {
    const [slot] = await sql<{ passed: boolean }[]>`
      SELECT confirmed_flush_lsn >= ${row?.lsn ?? ""}::pg_lsn AS passed
      FROM pg_replication_slots WHERE database = ${DATABASE}`;
    if (slot?.passed === true) return;
    if (performance.now() - since > CATCH_UP_MS) throw new Error(`it does not catch up:\n${daemon.output()}`);
    await delay(200);
  }
}

function rowOf(round: Round): string[] {
  const count = ([middle, most]: readonly [number, number]) => `${middle}, ${most} at most`;
  return [
    String(round.number),
    ...[round.mean, round.least, round.most].map(megabytes),
    ...[round.files, round.sockets, round.sessions].map(count),
    megabytes(round.mostHeld),
  ];
}

/** Writes the result into dist/bench and returns the file's path, as seen from the project. */
function write(result: SoakResult): string {
  const folder = join(PROJECT, "dist", "bench");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `soak-${result.date.replaceAll(":", "")}.json`);
  writeFileSync(file, JSON.stringify(result, null, 2) + "\n");
  return relative(PROJECT, file);
}

/** The options, or null where help is wanted. @throws Advice where they cannot be read */
function readOptions(args: string[]) {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        minutes: { type: "string", default: "30" },
        items: { type: "string", default: "30000" },
        executable: { type: "string" },
        help: { type: "boolean", default: false },
      },
    }));
  } catch (error) {
    throw new Advice(`${error instanceof Error ? error.message : error}\n\n${HELP}`);
  }
  if (values.help) return null;
  const [minutes, items] = [Number(values.minutes), Number(values.items)];
  if (!(minutes >= 4 * ROUND_SECONDS / 60)) throw new Advice(`--minutes is too little.\n\n${HELP}`);
  if (!Number.isInteger(items) || items < 1_000) {
    throw new Advice(`--items must be a whole number, 1000 at least.\n\n${HELP}`);
  }
  return {
    minutes,
    items,
    executable: values.executable === undefined ? null : resolve(values.executable),
  };
}
