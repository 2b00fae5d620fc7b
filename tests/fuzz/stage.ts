/** A world on real servers with a run of pgsync that follows it, and the oracle to judge it. */
import assert, { AssertionError } from "node:assert/strict";
import postgres from "postgres";
import { type Lsn, parseLsn } from "../../src/replication/lsn.ts";
import { parseSchema } from "../../src/schema/parse.ts";
import type { SchemaFile } from "../../src/schema/tree.ts";
import { assertSameDocuments, indexedDocuments } from "../oracle/compare.ts";
import { expectedDocuments } from "../oracle/documents.ts";
import { eventually } from "../support/eventually.ts";
import { withDatabase } from "../support/postgres.ts";
import { type Follower, FollowerHere, type FollowerOptions, FollowerProcess } from "./follower.ts";
import type { World } from "./world.ts";
import { TrialFault, Writers } from "./writers.ts";

/** Servers that trials share. */
export interface TrialServers {
  readonly postgresUrl: string;
  readonly searchUrl: string;
}

/** What a stage is made of. */
export interface StageOptions {
  readonly servers: TrialServers;
  /** How the run reaches the search engine, where it is not as the oracle does. */
  readonly searchUrl?: string;
  /** A word for names on the servers: `[a-z0-9_]`, nobody else's at the same time. */
  readonly name: string;
  readonly loadChunkRows: number;
  readonly bulkDocuments: number;
  /** How often the run refreshes materialised views; 0: never; 300: at its start, for no trial is that long. */
  readonly viewRefreshSeconds?: number;
  /** Places of the schema file's documents to keep; null: all. */
  readonly documents?: readonly number[] | null;
}

/** What a comparison found. */
export interface Found {
  readonly text: string;
  /** Place of the schema file's document. */
  readonly document: number | null;
}

/** A run that has not confirmed what was written after this time is taken to have lost it. */
const SETTLE_MS = 60_000;
/** No trial takes so long. */
const STAGE_SECONDS = 300;
/** The longest `_id` that the search engine takes, in bytes. */
const LONGEST_ID = 512;

/** What is waited for has not come yet. */
class Unsettled extends Error {
  override readonly name = "Unsettled";
}

/** Everything of one trial; gone with it. */
export class Stage<Following extends Follower = Follower> implements AsyncDisposable {
  readonly writers: Writers;
  /** Documents compared so far. */
  documents = 0;
  /** Comparisons so far. */
  comparisons = 0;
  /** Ids of the last comparison that no search engine takes, as `index id`. */
  readonly #impossible = new Set<string>();

  private constructor(
    private readonly world: World,
    private readonly options: StageOptions,
    readonly database: string,
    private readonly admin: postgres.Sql,
    /** A session on the database. */
    readonly sql: postgres.Sql,
    private readonly schema: SchemaFile,
    private readonly places: readonly number[],
    readonly follower: Following,
  ) {
    this.writers = new Writers(withDatabase(options.servers.postgresUrl, database));
  }

  /** The indices, by the names of their aliases. */
  get indices(): readonly string[] {
    return this.schema.documents.map((document) => document.index);
  }

  /** The search engine, as the oracle reaches it. */
  get searchUrl(): string {
    return this.options.servers.searchUrl;
  }

  /** A stage whose run is in this process. */
  static async here(world: World, options: StageOptions): Promise<Stage<FollowerHere>> {
    return await Stage.#open(world, options, (following) => new FollowerHere(following));
  }

  /** A stage whose run is a process. @param executable null: the sources */
  static async process(world: World, options: StageOptions, executable: string | null): Promise<Stage> {
    return await Stage.#open(world, options, (following) => new FollowerProcess(following, executable));
  }

  static async #open<Following extends Follower>(
    world: World,
    options: StageOptions,
    makeFollower: (following: FollowerOptions) => Following,
  ): Promise<Stage<Following>> {
    const { postgresUrl, searchUrl } = options.servers;
    const database = `fuzz_${options.name}`;
    const url = withDatabase(postgresUrl, database);
    const { text, places } = chosenDocuments(world, database, options.documents ?? null);
    const schema = parseSchema(text, "schema.json", {});
    const { loadChunkRows, bulkDocuments, viewRefreshSeconds = 0 } = options;
    const follower = makeFollower({
      schema,
      schemaText: text,
      postgresUrl: url,
      database,
      searchUrl: options.searchUrl ?? searchUrl,
      loadChunkRows,
      bulkDocuments,
      viewRefreshSeconds,
    });
    const admin = postgres(postgresUrl, { max: 1, onnotice: () => {} });
    const sql = postgres(url, { max: 2, onnotice: () => {} });
    const stage = new Stage(world, options, database, admin, sql, schema, places, follower);
    try {
      await admin.unsafe(`CREATE DATABASE ${database}`);
      for (const statement of world.ddl) await sql.unsafe(statement);
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
    return stage;
  }

  /**
   * Waits until the run has confirmed all that was written before this call, then compares once: what the index holds then
   * it would hold for ever.
   *
   * @throws what the run has failed with; TrialFault
   */
  async difference(when: string): Promise<Found | null> {
    await this.settled();
    return await this.compare(when);
  }

  /** Waits until the run has confirmed all that was written before this call. @throws what the run has failed with */
  async settled(): Promise<void> {
    // Else it may be confirmed already, though a look has asked for a comparison since.
    await this.#emit();
    const written = await this.written();
    // Positions move by what is committed.
    await this.#emit();
    await this.#until("the run to confirm what was written", () => this.follower.hasConfirmed(written));
  }

  /**
   * Waits for a look at the tables that begins after this call: what it finds goes before every position that is confirmed
   * later. @throws what the run has failed with
   */
  async lookedAt(): Promise<void> {
    const now = new Date();
    await this.#until("a look at the tables", () => this.follower.hasLooked(now));
  }

  /**
   * Waits until the server has counted what was written to materialised views, for nothing else tells of a refresh beside
   * their readers; and where the run refreshes them, until they hold what their queries give now. Writers must rest.
   */
  async viewsSettled(): Promise<void> {
    const materialized = this.world.materialized.filter(({ followed }) => followed);
    if (materialized.length === 0) return;
    // A session tells what it has counted before it is gone, at the latest.
    await this.writers.rest();
    await this.#until("the writers' sessions to be gone", async () => {
      const left = await this.sql`
        SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'writer %'`;
      return left.length === 0;
    });
    const [gone] = await this.sql<{ at: string }[]>`SELECT clock_timestamp()::text AS at`;
    await this.#until("the server to count what was written", async () => {
      // Before PostgreSQL 15 others read the counts from a file, of each database its own, which may be so old (PGSTAT_STAT_INTERVAL).
      const [row] = await this.sql<{ counted: boolean }[]>`
        SELECT current_setting('server_version_num')::int >= 150000
          OR clock_timestamp() > ${gone?.at ?? ""}::timestamptz + interval '500 ms' AS counted`;
      return row?.counted === true;
    });
    const { viewRefreshSeconds = 0 } = this.options;
    if (viewRefreshSeconds === 0 || viewRefreshSeconds >= STAGE_SECONDS) return;
    await this.#until("the run to refresh the materialised views", async () => {
      for (const { schema, name, query } of materialized) {
        // `v::text` would be a column's, where the view has one of that name.
        const held = `SELECT ROW(v.*)::text FROM "${schema.replaceAll('"', '""')}"."${
          name.replaceAll('"', '""')
        }" v`;
        const given = `SELECT ROW(q.*)::text FROM (${query}) q`;
        const [other] = await this.sql.unsafe(
          `(${held} EXCEPT ALL ${given}) UNION ALL (${given} EXCEPT ALL ${held}) LIMIT 1`,
        );
        if (other !== undefined) {
          throw new Unsettled(`${name} differs from its query: ${JSON.stringify(other)}`);
        }
      }
      return true;
    });
  }

  async #until(what: string, done: () => Promise<boolean>): Promise<void> {
    const failures: unknown[] = [];
    await eventually(async () => {
      try {
        return await done();
      } catch (error) {
        if (error instanceof Unsettled) throw error;
        failures.push(error);
        return true;
      }
    }, { what, timeout: SETTLE_MS, interval: 5 }).catch(async (error: unknown) => {
      throw new Error(
        `${error instanceof Error ? error.message : String(error)}\n${await this.follower.account()}`,
      );
    });
    if (failures.length > 0) throw failures[0];
  }

  async #emit(): Promise<void> {
    await this.sql`select pg_logical_emit_message(true, 'test', '')`;
  }

  /** The end of the WAL. */
  async written(): Promise<Lsn> {
    const [row] = await this.sql<{ lsn: string }[]>`select pg_current_wal_insert_lsn()::text as lsn`;
    return parseLsn(row?.lsn ?? "");
  }

  /** Compares all documents with those that the oracle makes of the tables. @throws TrialFault */
  async compare(when: string): Promise<Found | null> {
    this.comparisons++;
    this.#impossible.clear();
    for (const [place, document] of this.schema.documents.entries()) {
      const expected = await judged(() => expectedDocuments(this.sql, document));
      const found = await judged(() => indexedDocuments(this.options.servers.searchUrl, document.index));
      this.documents += expected.size;
      for (const id of expected.keys()) {
        if (id !== "" && new TextEncoder().encode(id).length <= LONGEST_ID) continue;
        this.#impossible.add(`${document.index} ${id}`);
        expected.delete(id);
      }
      try {
        assertSameDocuments(expected, found, when);
      } catch (error) {
        if (!(error instanceof AssertionError)) throw new TrialFault("comparison", { cause: error });
        return { text: `index ${document.index}: ${error.message}`, document: this.places[place] ?? null };
      }
    }
    return null;
  }

  /**
   * What is wrong with the dead letters after the last comparison: there must be one for each document that no search
   * engine takes, and no other. To be asked for when the run has stopped.
   */
  wrongDeadLetters(): string | null {
    const letters = this.follower.deadLetters();
    const refused = new Set(letters.map(({ index, id }) => `${index} ${id}`));
    const lacking = [...this.#impossible].filter((id) => !refused.has(id)).map((id) =>
      `no dead letter of ${id}`
    );
    const unexpected = letters.filter(({ id }) =>
      id !== "" && new TextEncoder().encode(id).length <= LONGEST_ID
    )
      .map(({ index, id, reason }) => `${index} refused "${id}": ${reason}`);
    const wrong = [...lacking, ...unexpected];
    return wrong.length === 0 ? null : wrong.slice(0, 5).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.follower.close();
    await this.writers.close();
    await this.sql.end({ timeout: 1 });
    await dropDatabase(this.admin, this.database);
    await dropIndices(this.options.servers.searchUrl, `${this.database}_`);
    await this.admin.end({ timeout: 1 });
  }
}

async function judged<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new TrialFault("the oracle failed", { cause });
  }
}

/** The schema file's text with some or all of its documents. */
function chosenDocuments(
  world: World,
  database: string,
  wanted: readonly number[] | null,
): { readonly text: string; readonly places: readonly number[] } {
  const schema: unknown = world.schema(database, (place) => `${database}_${place}`);
  assert.ok(Array.isArray(schema), "a world's schema file is a list of documents");
  const places = [...schema.keys()].filter((place) => wanted === null || wanted.includes(place));
  return { text: JSON.stringify(places.map((place): unknown => schema[place]), null, 2), places };
}

async function dropDatabase(admin: postgres.Sql, name: string): Promise<void> {
  // A slot outlives its walsender by a moment.
  await eventually(async () => {
    await admin`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = ${name} AND active`;
    await admin`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = ${name}`;
    await admin.unsafe(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
  }, { what: `database ${name} to be dropped` });
}

async function dropIndices(url: string, prefix: string): Promise<void> {
  // Wildcards may be forbidden for deletion, so the names are asked for first.
  const found = await fetch(new URL(`/${prefix}*?expand_wildcards=all&filter_path=*.aliases`, url));
  const indices = Object.keys(await found.json());
  if (indices.length === 0) return;
  await (await fetch(new URL(`/${indices.join(",")}`, url), { method: "DELETE" })).text();
}
