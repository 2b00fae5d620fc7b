/**
 * `deno task demo`: a real PostgreSQL, a real Elasticsearch, a bookshop, and pgsync between them. Makes changes and shows each
 * arriving in its document, until Ctrl-C. With `--once` it makes a fixed set of changes, compares every document with PostgreSQL, and
 * exits with 0 where all are equal, else 1.
 */
import { join, resolve } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import postgres from "postgres";
import { loadBookshop } from "../../examples/bookshop/load.ts";
import { PROJECT } from "../project.ts";
import { startPostgres } from "../servers/postgres.ts";
import { Advice, beforeTheEnd, runScript } from "../servers/process.ts";
import { type ProgressView, progressView } from "../servers/progress.ts";
import { findSearchServer } from "../servers/search.ts";
import { type Change, endlessChanges, fixedChanges } from "./changes.ts";
import { compareAll, type Comparison, isEqual } from "./check.ts";
import { type Program, startProgram } from "./program.ts";
import { type SearchClient, searchClient } from "./search_client.ts";

const HELP = `deno task demo [options]

PostgreSQL, Elasticsearch and pgsync on a bookshop; changes it and shows each change arriving. Ctrl-C ends all of it.

  --once                make a fixed set of changes, compare every document with PostgreSQL, exit with 0 or 1
  --books <n>           how many books (default: 20000)
  --executable <path>   run this executable (dist/pgsync) instead of the sources
  --install             install Java and Maven with apt where they are missing, if no password is needed
  --verbose             show what pgsync writes
  --help

ELASTICSEARCH_URL: use this server. Else docker is used where it answers, else a download from Maven Central.
PGSYNC_CACHE: where downloads are kept (default: ~/.cache/pgsync-edge; as root /var/cache/pgsync-edge).`;

/** Both names stand in schema.yaml. */
const DATABASE = "bookshop";
const INDEX = "bookshop";
const SCHEMA = join(PROJECT, "examples", "bookshop", "schema.yaml");
const PAUSE_MS = 1_200;
const VISIBLE_TIMEOUT_MS = 60_000;
/** Documents asked for at once while a change that touches many arrives. */
const WATCHED_AT_ONCE = 100;

interface Options {
  readonly once: boolean;
  readonly books: number;
  readonly executable: string | null;
  readonly install: boolean;
  readonly verbose: boolean;
}

await runScript(async (interrupted) => {
  const options = readOptions(process.argv.slice(2));
  if (options === null) {
    console.log(HELP);
    return 0;
  }
  const start = performance.now();
  const view = progressView();
  const [databaseUrl, search] = await Promise.all([
    preparePostgres(options, view),
    prepareSearch(options, view),
  ]).finally(view.stop);

  const client = searchClient(search.url);
  const program = await startProgram({
    executable: options.executable,
    config: SCHEMA,
    postgresUrl: databaseUrl,
    searchUrl: search.url,
    onLine: (line) => options.verbose && console.error(`pgsync: ${line}`),
  });
  if (search.shared) removeIndexAtTheEnd(client, program);
  const loadStart = performance.now();
  await program.ready((done, total) => view.rows("Documents", done, total)).finally(view.stop);
  const loadSeconds = (performance.now() - loadStart) / 1000;
  console.log(`Documents loaded after ${loadSeconds.toFixed(1)} s, start of pgsync included.`);
  console.log(`Status page: ${program.url}/`);
  console.log(`Index: ${search.url}/${INDEX}\n`);

  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} });
  const times: number[] = [];
  beforeTheEnd(async () => {
    console.log(`\n${summary(times)}`);
    await sql.end({ timeout: 1 });
  });
  // What happens to pgsync must end the demo too.
  let done = false;
  const ended = program.child.exited.then(() => {
    if (!interrupted.aborted && !done) throw new Advice(`pgsync ended by itself:\n${program.child.output()}`);
  });
  const changes = async () => {
    for await (const change of options.once ? fixedChanges(sql) : endlessChanges(sql)) {
      if (times.length === 0) {
        console.log(`First change after ${((performance.now() - start) / 1000).toFixed(1)} s:`);
      }
      const milliseconds = await makeAndWatch(sql, client, change);
      times.push(milliseconds);
      console.log(`${milliseconds.toFixed(0).padStart(6)} ms  ${change.kind.padEnd(13)} ${change.text}`);
      if (!options.once) await delay(PAUSE_MS, undefined, { signal: interrupted });
    }
  };
  await Promise.race([changes(), ended]);
  done = true;

  const comparison = await compareUntilEqual(databaseUrl, client, view);
  console.log("\n" + comparisonText(comparison));
  const memory = program.memory();
  if (memory !== null) console.log(`Memory of pgsync: ${(memory / 1e6).toFixed(0)} MB`);
  return await stopsWell(program) && isEqual(comparison) ? 0 : 1;
});

/** The options, or null where help is wanted. @throws Advice where they cannot be read */
function readOptions(args: string[]): Options | null {
  try {
    const { values } = parseArgs({
      args,
      options: {
        once: { type: "boolean", default: false },
        books: { type: "string", default: "20000" },
        executable: { type: "string" },
        install: { type: "boolean", default: false },
        verbose: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    const books = Number(values.books);
    if (!Number.isInteger(books) || books < 100) {
      throw new Error("--books must be a whole number, 100 at least.");
    }
    const executable = values.executable === undefined ? null : resolve(values.executable);
    return values.help ? null : { ...values, books, executable };
  } catch (error) {
    throw new Advice(`${error instanceof Error ? error.message : error}\n\n${HELP}`);
  }
}

/** Starts PostgreSQL and fills the bookshop; returns the database's address. */
async function preparePostgres(options: Options, view: ProgressView): Promise<string> {
  const started = performance.now();
  const server = await startPostgres({ major: 17, onProgress: view.bytes });
  view.log(`PostgreSQL ${server.major} runs on port ${server.port} (${since(started)})`);
  const administration = postgres(server.url, { max: 1 });
  await administration`CREATE DATABASE ${administration(DATABASE)}`;
  await administration.end();
  const url = new URL(server.url);
  url.pathname = `/${DATABASE}`;
  const loadStarted = performance.now();
  const counts = await loadBookshop({
    url: url.href,
    books: options.books,
    onProgress: (table, rows) => table === "book" && view.rows("Books", rows, options.books),
  });
  const rows = [...counts.values()].reduce((sum, count) => sum + count, 0);
  view.log(
    `The bookshop has ${options.books.toLocaleString("en-US")} books, ${
      rows.toLocaleString("en-US")
    } rows in ` +
      `${counts.size} tables (${since(loadStarted)})`,
  );
  return url.href;
}

interface FoundSearch {
  readonly url: string;
  /** It is the user's, so we clean up after ourselves. */
  readonly shared: boolean;
}

async function prepareSearch(options: Options, view: ProgressView): Promise<FoundSearch> {
  const started = performance.now();
  const server = await findSearchServer({ install: options.install, onProgress: view.bytes, log: view.log });
  const shared = Boolean(process.env["ELASTICSEARCH_URL"]);
  if (shared && (await searchClient(server.url).indicesOf(INDEX)).length > 0) {
    throw new Advice(
      `The server of ELASTICSEARCH_URL has an index "${INDEX}" already; the demo does not touch it. Remove it, or use another server.`,
    );
  }
  view.log(`${server.description}: ${server.url} (${since(started)})`);
  return { url: server.url, shared };
}

function removeIndexAtTheEnd(client: SearchClient, program: Program): void {
  beforeTheEnd(async () => {
    await program.child.stop();
    await client.removeIndices(await client.indicesOf(INDEX));
  });
}

/** Makes a change, and returns the milliseconds from its COMMIT until all its documents show it. */
async function makeAndWatch(sql: postgres.Sql, client: SearchClient, change: Change): Promise<number> {
  let committing = 0;
  await sql.begin(async (transaction) => {
    await change.apply(transaction);
    // COMMIT is sent when this function has returned.
    committing = performance.now();
  });
  const waiting = new Set(change.ids);
  const deadline = committing + VISIBLE_TIMEOUT_MS;
  while (waiting.size > 0) {
    const asked = [...waiting].slice(0, WATCHED_AT_ONCE);
    const found = await client.get(INDEX, asked);
    for (const id of asked) if (change.shows(found.get(id), id)) waiting.delete(id);
    if (performance.now() > deadline) {
      throw new Advice(
        `${change.kind}: ${change.text}: not in the document ${asked[0]} after ${
          VISIBLE_TIMEOUT_MS / 1000
        } s.`,
      );
    }
    await delay(1);
  }
  return performance.now() - committing;
}

/** Every change has been seen to arrive, so all must be equal soon; what is not after some seconds is a fault. */
async function compareUntilEqual(
  databaseUrl: string,
  client: SearchClient,
  view: ProgressView,
): Promise<Comparison> {
  for (let tries = 1;; tries++) {
    const comparison = await compareAll(
      databaseUrl,
      client,
      INDEX,
      (done, total) => view.rows("Compared", done, total),
    );
    view.stop();
    if (isEqual(comparison) || tries === 5) return comparison;
    await delay(1_000);
  }
}

/** SIGTERM must make it flush, store its position and exit with 0. */
async function stopsWell(program: Program): Promise<boolean> {
  const started = performance.now();
  const { code, signal } = await program.child.stop();
  if (code === 0) console.log(`pgsync stopped ${since(started)} after SIGTERM.`);
  else console.log(`pgsync did not stop well (${signal ?? `exit code ${code}`}):\n${program.child.output()}`);
  return code === 0;
}

function comparisonText(comparison: Comparison): string {
  const { expected, equal, different, missing, surplus, examples } = comparison;
  const counts =
    `${equal} of ${expected} documents equal, ${different.length} different, ${missing.length} missing, ` +
    `${surplus.length} without a row`;
  return [counts, ...examples.map((line) => `  ${line}`)].join("\n");
}

function summary(times: readonly number[]): string {
  if (times.length === 0) return "No change was made.";
  const sorted = [...times].sort((a, b) => a - b);
  const median = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
  const longest = sorted.at(-1) ?? 0;
  return `${times.length} changes; from COMMIT to the document: median ${median.toFixed(0)} ms, longest ${
    longest.toFixed(0)
  } ms.`;
}

function since(start: number): string {
  return `${((performance.now() - start) / 1000).toFixed(1)} s`;
}
