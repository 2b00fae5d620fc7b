/** A run of the sync core in this process, against real servers, judged by the oracle. */
import assert from "node:assert/strict";
import postgres from "postgres";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import type { DeadLetter } from "../../src/checkpoint/types.ts";
import { formatLsn, type Lsn, parseLsn } from "../../src/replication/lsn.ts";
import { delayOrAbort } from "../../src/retry/backoff.ts";
import { parseSchema } from "../../src/schema/parse.ts";
import type { SchemaFile } from "../../src/schema/tree.ts";
import { SEARCH_DEFAULTS } from "../../src/search/options.ts";
import { checkpointPath } from "../../src/sync/setup/checkpoint_path.ts";
import { toStatusJson } from "../../src/server/status_json.ts";
import { slotName } from "../../src/sync/database_mapping.ts";
import { RUN_DEFAULTS, type RunOptions } from "../../src/sync/options.ts";
import type { SyncEvent, SyncStatus } from "../../src/status/status.ts";
import { Synchronizer } from "../../src/sync/synchronizer.ts";
import { assertSameDocuments, indexedDocuments } from "../oracle/compare.ts";
import { expectedDocuments } from "../oracle/documents.ts";
import { optionsOf } from "../postgres/options.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import {
  type DatabaseServer,
  type TestDatabase,
  type TestedMajor,
  usePostgres,
} from "../support/postgres.ts";
import { surroundings, told } from "../support/stall.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

/** How many events the failure shows of a run that does not come on. */
const EVENTS_EXPLAINED = 30;

/** A database and what follows it. To be disposed of. */
export class Bench implements AsyncDisposable {
  #run: { readonly done: Promise<void>; readonly stop: AbortController } | null = null;
  #failure: { readonly error: unknown } | null = null;
  /** The synchronizer that was started last. */
  synchronizer: Synchronizer;
  /** All events of all runs. */
  readonly events: SyncEvent[] = [];

  private constructor(
    readonly database: TestDatabase,
    /** A session of the application's: it writes. */
    readonly sql: postgres.Sql,
    readonly schema: SchemaFile,
    readonly options: RunOptions,
    readonly searchUrl: string,
  ) {
    this.synchronizer = new Synchronizer(options);
  }

  /**
   * Makes a database with tables and rows, and reads a schema file for it.
   *
   * @param on a shared server of this major, or another server
   * @param nodes the `nodes` of each document, as YAML: an object
   */
  static async open(
    on: TestedMajor | DatabaseServer,
    ddl: string,
    nodes: string | readonly string[],
    changes: Partial<RunOptions> = {},
  ): Promise<Bench> {
    const [server, search] = await Promise.all([
      typeof on === "number" ? usePostgres(on) : on,
      useElasticsearch(),
    ]);
    const database = await server.createDatabase();
    const sql = postgres(database.url, { max: 4, onnotice: () => {} });
    try {
      await sql.unsafe(ddl);
      const documents = [nodes].flat().map((text, at) => {
        const indented = text.replace(/^\n/, "").replaceAll(/^/gm, "  ");
        return `database: ${database.name}\nindex: ${search.indexName(`doc${at}`)}\nnodes:\n${indented}\n`;
      });
      const schema = parseSchema(documents.join("---\n"), "schema.yaml", {});
      const options: RunOptions = {
        ...RUN_DEFAULTS,
        schema,
        postgres: optionsOf(database.url),
        search: { ...SEARCH_DEFAULTS, urls: [search.url] },
        checkpointFolder: temporaryFolder("test"),
        bootstrap: true,
        catalogIntervalMs: 100,
        ...changes,
      };
      return new Bench(database, sql, schema, options, search.url);
    } catch (error) {
      await sql.end();
      await database.drop();
      throw error;
    }
  }

  /** The schema file with other nodes in its first document. */
  withNodes(nodes: string): SchemaFile {
    const [document] = this.schema.documents;
    const indented = nodes.replace(/^\n/, "").replaceAll(/^/gm, "  ");
    const text = `database: ${document?.database}\nindex: ${document?.index}\nnodes:\n${indented}\n`;
    return parseSchema(text, "schema.yaml", {});
  }

  /** Starts a run that streams until `stop`. */
  start(changes: Partial<RunOptions> = {}): void {
    if (this.#run !== null) throw new Error("a run is under way");
    const stop = new AbortController();
    this.synchronizer = new Synchronizer({ ...this.options, ...changes }, (event) => this.events.push(event));
    this.#failure = null;
    const done = this.synchronizer.run({ signal: stop.signal, daemon: true })
      .catch((error: unknown) => void (this.#failure = { error }));
    this.#run = { done, stop };
  }

  /** Ends the run in good order. @throws what the run failed with */
  async stop(): Promise<void> {
    const run = this.#run;
    this.#run = null;
    run?.stop.abort();
    await run?.done;
    this.#throwFailure();
  }

  /** The error that the run ends with by itself. @throws where it goes on */
  async failure(limitMs = 60_000): Promise<unknown> {
    const limit = new AbortController();
    const ended = Promise.resolve(this.#run?.done).then(() => true);
    const inTime = await Promise.race([ended, delayOrAbort(limitMs, limit.signal).then(() => false)]);
    limit.abort();
    if (!inTime) throw new Error(`the run has not failed within ${limitMs / 1000} s`);
    const failure = this.#failure;
    if (failure === null) throw new Error("the run did not fail");
    this.#run = null;
    this.#failure = null;
    return failure.error;
  }

  /** Starts a run that ends by itself when all is loaded and caught up. */
  async runOnce(changes: Partial<RunOptions> = {}): Promise<void> {
    this.synchronizer = new Synchronizer({ ...this.options, ...changes }, (event) => this.events.push(event));
    await this.synchronizer.run({ signal: AbortSignal.timeout(60_000), daemon: false });
  }

  /** Runs statements of the application, each text in one implicit transaction. */
  async write(...statements: readonly string[]): Promise<void> {
    for (const statement of statements) await this.sql.unsafe(statement);
  }

  /**
   * Waits until the run has confirmed everything that was written before this call, changes of the tables' definitions
   * included. So what the index holds then is what it would hold for ever: a wrong document cannot pass by luck, as it
   * could by comparing until equal.
   */
  async settled(): Promise<void> {
    const now = Date.now();
    // What a look finds goes before every position that is confirmed after it.
    await this.#until(
      "a look at the tables",
      (status) => {
        const { tablesLookedAt } = status;
        if (tablesLookedAt !== null && tablesLookedAt.getTime() > now) return;
        throw new Error(`the last one began at ${tablesLookedAt?.toISOString()}`);
      },
    );
    // Positions move by what is committed. This is new: no position can have passed it before that look.
    const [row] = await this.sql<{ lsn: string }[]>`
      select pg_logical_emit_message(true, 'test', '')::text as lsn`;
    const written: Lsn = parseLsn(row?.lsn ?? "");
    await this.#until(
      "the run to confirm what was written",
      ({ ready, notReady, stream: { confirmed } }) => {
        if (!ready) throw new Error(notReady.join(" "));
        if (confirmed < written) throw new Error(`${formatLsn(confirmed)} is confirmed, not ${row?.lsn}`);
      },
    );
  }

  /** @param check throws while it is not so */
  async #until(what: string, check: (status: SyncStatus) => void): Promise<void> {
    await eventually(() => {
      if (this.#failure !== null) return;
      const [status] = this.synchronizer.status().databases;
      if (status === undefined) throw new Error("the run is starting");
      check(status);
    }, { what, timeout: 60_000, interval: 5, explain: () => this.#explain() });
    this.#throwFailure();
  }

  /** All that may tell why a run does not come on. */
  async #explain(): Promise<string> {
    const { database: { url: databaseUrl }, searchUrl } = this;
    const parts = [
      told("status", () => Promise.resolve(toStatusJson(this.synchronizer.status(), "", new Date()))),
      told("last events", () => Promise.resolve(this.events.slice(-EVENTS_EXPLAINED))),
      surroundings({ databaseUrl, searchUrl }),
    ];
    return (await Promise.all(parts)).join("\n");
  }

  /** Compares all documents with those that the oracle makes of the tables. */
  async assertEqual(when: string, schema: SchemaFile = this.schema): Promise<void> {
    for (const document of schema.documents) {
      const expected = await expectedDocuments(this.sql, document);
      const found = await indexedDocuments(this.searchUrl, document.index);
      try {
        assertSameDocuments(expected, found, when);
      } catch (error) {
        if (!(error instanceof assert.AssertionError)) throw error;
        // What the search engine refused is in the checkpoint file, which the run holds.
        await this.stop();
        for (const { id, reason } of this.deadLetters()) error.message += `\n  refused "${id}": ${reason}`;
        throw error;
      }
    }
  }

  /** What the search engine refused. To be asked for when no run is under way. */
  deadLetters(): DeadLetter[] {
    using checkpoint = Checkpoint.open(checkpointPath(this.options, slotName(null, this.database.name)));
    return checkpoint.listDeadLetters();
  }

  /** Waits, then compares once. */
  async assertSettled(when: string): Promise<void> {
    await this.settled();
    await this.assertEqual(when);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.stop();
    } finally {
      removeFolder(this.options.checkpointFolder);
      await this.sql.end();
      await this.database.drop();
    }
  }

  #throwFailure(): void {
    const failure = this.#failure;
    // It is told once: the disposal at the end of a failed test must not hide it behind itself.
    this.#failure = null;
    if (failure !== null) throw failure.error;
  }
}
