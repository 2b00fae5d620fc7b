/**
 * `deno run -A scripts/bench/large.ts`: what large transactions and large fan-outs take of memory and time, on servers of its
 * own. Prints a table, and writes all figures, with the memory over time, as JSON into dist/bench/.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join, relative, resolve } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { build } from "../build.ts";
import { PROJECT } from "../project.ts";
import { Advice, runScript, startChild } from "../servers/process.ts";
import { progressView } from "../servers/progress.ts";
import { startDaemon } from "./candidates/daemon.ts";
import { Pgsync } from "./candidates/pgsync.ts";
import { DATABASE, fillShop, type Size, writeShopSchema } from "./large/shop.ts";
import { residentAt, type Seen, watch } from "./large/watch.ts";
import { type Workload, WORKLOADS } from "./large/workloads.ts";
import { markdown, megabytes } from "./report.ts";
import { type Servers, startServers } from "./servers.ts";

const NAMES = ["load", ...WORKLOADS.map(({ name }) => name)];

const HELP = `deno run -A scripts/bench/large.ts [options]

Loads many documents, then makes changes that touch many rows or many documents at once, each with a pgsync that has just started.
The server spills its transactions (logical_decoding_work_mem) and cuts who is silent for 5 s (wal_sender_timeout). Linux only.

  --items <n>             documents (default: 1000000)
  --rows <n>              rows that a transaction changes (default: 300000)
  --only <workloads>      of ${NAMES.join(",")} (default: all)
  --executable <path>     measure this executable (default: dist/pgsync, built first); may be given again
  --from-sources          measure the sources, under Deno, too
  --help

Variables BENCH_X are passed to pgsync as X.`;

/** The server cuts a connection that is silent for so long. */
const WAL_SENDER_TIMEOUT = "5s";
/** Far less than a transaction: it comes from the disk. */
const DECODING_MEMORY = "256kB";
const GIVE_UP_AFTER_MS = 30 * 60_000;

interface Result extends Seen {
  readonly program: string;
  readonly workload: string;
  readonly documents: number;
  /** From the commit until the slot's confirmed position has passed it. */
  readonly seconds: number;
  /** Before the change, in bytes. */
  readonly idleRss: number;
}

interface Report extends Size {
  readonly date: string;
  readonly machine: string;
  readonly versions: Servers["versions"];
  readonly results: readonly Result[];
}

interface Options extends Size {
  readonly only: readonly string[];
  /** Paths; null for the sources. */
  readonly programs: readonly (string | null)[];
}

const HEAD = [
  ...[
    "workload",
    "program",
    "documents",
    "time",
    "documents/s",
    "RSS before",
    "at 20%",
    "at 50%",
    "at the end",
  ],
  ...["peak RSS", "longest silence", "connections"],
];

await runScript(async () => {
  const options = await readOptions(process.argv.slice(2));
  if (options === null) {
    console.log(HELP);
    return 0;
  }
  if (process.platform !== "linux") throw new Advice("The benchmark reads /proc, so it runs on Linux only.");
  const view = progressView();
  const servers = await startServers({
    name: DATABASE,
    fill: (url) => fillShop(url, options),
    settings: { wal_sender_timeout: WAL_SENDER_TIMEOUT, logical_decoding_work_mem: DECODING_MEMORY },
  }, view);
  const schema = writeShopSchema();
  const results: Result[] = [];
  for (const program of options.programs) {
    const pgsync = new Pgsync(servers, program, schema);
    const name = program === null ? "sources" : relative(process.cwd(), program);
    const add = (result: Omit<Result, "program">) => {
      results.push({ program: name, ...result });
      console.error(rowOf({ program: name, ...result }).join("  "));
    };
    add(await load(servers, pgsync, options));
    for (const workload of WORKLOADS.filter(({ name }) => options.only.includes(name))) {
      add(await change(servers, pgsync, workload, options));
    }
    await pgsync.clear();
    // TRUNCATE has emptied it.
    await servers.sql`INSERT INTO note SELECT id, id, 'note on ' || id FROM part ON CONFLICT DO NOTHING`;
  }
  console.log(markdown(HEAD, results.map(rowOf)).join("\n"));
  console.log(write({
    date: new Date().toISOString(),
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    versions: servers.versions,
    items: options.items,
    rows: options.rows,
    results,
  }));
  return 0;
});

/** The initial load of all documents, as a process that ends by itself. */
async function load(servers: Servers, pgsync: Pgsync, { items }: Size): Promise<Omit<Result, "program">> {
  const started = performance.now();
  const child = await startChild(pgsync.command("--bootstrap", "--listen", "off"));
  const watched = watch(child.pid, servers.sql);
  const { code } = await child.exited;
  const seconds = (performance.now() - started) / 1000;
  const seen = await watched.stop();
  if (code !== 0) throw new Error(`the load ended with code ${code}:\n${child.output()}`);
  const idleRss = seen.samples[0]?.resident ?? NaN;
  return { workload: "load", documents: items, seconds, idleRss, ...seen };
}

/** A change, followed by a pgsync that has just started. */
async function change(
  servers: Servers,
  pgsync: Pgsync,
  workload: Workload,
  size: Size,
): Promise<Omit<Result, "program">> {
  const { sql } = servers;
  const daemon = await startDaemon(pgsync);
  await delay(1_000);
  const watched = watch(daemon.pid, sql);
  await sql.begin(async (transaction) => {
    for (const statement of workload.statements(size)) await transaction.unsafe(statement);
  });
  const [row] = await sql<{ lsn: string }[]>`SELECT pg_current_wal_insert_lsn()::text AS lsn`;
  const committed = performance.now();
  // Positions move by what is committed.
  await sql`SELECT pg_logical_emit_message(true, 'bench', '')`;
  for (;;) {
    const [slot] = await sql<{ passed: boolean }[]>`
      SELECT confirmed_flush_lsn >= ${row?.lsn ?? ""}::pg_lsn AS passed
      FROM pg_replication_slots WHERE database = ${DATABASE}`;
    if (slot?.passed === true) break;
    if (performance.now() - committed > GIVE_UP_AFTER_MS) {
      throw new Error(`${workload.name} was not acknowledged in time:\n${daemon.output()}`);
    }
    await delay(20);
  }
  const seconds = (performance.now() - committed) / 1000;
  const seen = await watched.stop();
  await daemon.stop();
  const idleRss = seen.samples[0]?.resident ?? NaN;
  return { workload: workload.name, documents: workload.documents(size), seconds, idleRss, ...seen };
}

function rowOf(result: Result): string[] {
  const { workload, program, documents, seconds, idleRss, peakRss, longestSilence, walsenders } = result;
  return [
    ...[workload, program, String(documents), `${seconds.toFixed(1)} s`, (documents / seconds).toFixed(0)],
    ...[idleRss, residentAt(result, 0.2), residentAt(result, 0.5), residentAt(result, 1), peakRss].map(
      megabytes,
    ),
    ...[`${longestSilence.toFixed(1)} s`, String(walsenders)],
  ];
}

/** Writes the result into dist/bench and returns the file's path, as seen from the project. */
function write(result: Report): string {
  const folder = join(PROJECT, "dist", "bench");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `large-${result.date.replaceAll(":", "")}.json`);
  writeFileSync(file, JSON.stringify(result, null, 2) + "\n");
  return relative(PROJECT, file);
}

/** The options, or null where help is wanted. @throws Advice where they cannot be read */
async function readOptions(args: string[]): Promise<Options | null> {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        items: { type: "string", default: "1000000" },
        rows: { type: "string", default: "300000" },
        only: { type: "string", default: NAMES.join(",") },
        executable: { type: "string", multiple: true },
        "from-sources": { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }));
  } catch (error) {
    throw new Advice(`${error instanceof Error ? error.message : error}\n\n${HELP}`);
  }
  if (values.help) return null;
  const only = values.only.split(",");
  const unknown = only.find((name) => !NAMES.includes(name));
  if (unknown !== undefined) throw new Advice(`--only: there is no workload "${unknown}".\n\n${HELP}`);
  const [items, rows] = [Number(values.items), Number(values.rows)];
  if (!Number.isInteger(items) || !Number.isInteger(rows) || rows < 1 || items < rows) {
    throw new Advice(`--items and --rows must be whole numbers, and no more rows than items.\n\n${HELP}`);
  }
  const sources = values["from-sources"] ? [null] : [];
  const executables = values.executable?.map((path) => resolve(path)) ??
    (values["from-sources"] ? [] : [await build()]);
  return { items, rows, only, programs: [...executables, ...sources] };
}
