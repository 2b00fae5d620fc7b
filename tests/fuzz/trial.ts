/** A trial: a world, a history, and a run of pgsync that follows it, judged by the oracle at every quiet point. */
import { AssertionError } from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import postgres from "postgres";
import { randomOf } from "../../examples/bookshop/random.ts";
import { parseLsn } from "../../src/replication/lsn.ts";
import { parseSchema } from "../../src/schema/parse.ts";
import type { SchemaFile } from "../../src/schema/tree.ts";
import { assertSameDocuments, indexedDocuments } from "../oracle/compare.ts";
import { expectedDocuments } from "../oracle/documents.ts";
import { eventually } from "../support/eventually.ts";
import { withDatabase } from "../support/postgres.ts";
import { type Follower, FollowerHere, type FollowerOptions, FollowerProcess } from "./follower.ts";
import type { History } from "./work.ts";
import type { World } from "./world.ts";
import { TrialFault, type WorkCounts, Writers } from "./writers.ts";

/** Servers that trials share. */
export interface TrialServers {
  readonly postgresUrl: string;
  readonly searchUrl: string;
}

/** How a trial goes. */
export interface TrialOptions {
  readonly servers: TrialServers;
  /** A word for names on the servers: `[a-z0-9_]`, nobody else's at the same time. */
  readonly name: string;
  /** Decides the sizes of chunks and requests, and the moments of kills. */
  readonly seed: number;
  /** The run is a process that is killed again and again. */
  readonly kill: boolean;
  /** What is killed; null: the sources. */
  readonly executable: string | null;
  /** Places of the schema file's documents to keep; null: all. */
  readonly documents?: readonly number[] | null;
}

/** How a trial ended. */
export interface TrialResult {
  /** What differs, and after which round; null where nothing does. */
  readonly difference: Difference | null;
  readonly counts: WorkCounts & { kills: number; documents: number; quietPoints: number };
}

export interface Difference {
  /** Place of the round after which it was seen; -1: before the first. */
  readonly round: number;
  readonly text: string;
  /** Place of the schema file's document; null where the run itself failed. */
  readonly document: number | null;
}

/** A run that has not confirmed what was written after this time is taken to have lost it. */
const SETTLE_MS = 60_000;

/** Carries a trial out on a database of its own, which is gone at the end. @throws Error where the trial itself is at fault */
export async function carryOut(world: World, history: History, options: TrialOptions): Promise<TrialResult> {
  const database = `fuzz_${options.name}`;
  const admin = postgres(options.servers.postgresUrl, { max: 1, onnotice: () => {} });
  try {
    await admin.unsafe(`CREATE DATABASE ${database}`);
    try {
      const trial = new Trial(world, history, options, database);
      try {
        return await trial.run();
      } finally {
        await trial.close();
      }
    } finally {
      await dropDatabase(admin, database);
      await dropIndices(options.servers.searchUrl, `${database}_`);
    }
  } finally {
    await admin.end({ timeout: 1 });
  }
}

class Trial {
  readonly #sql: postgres.Sql;
  readonly #writers: Writers;
  readonly #random;
  readonly #follower: Follower;
  readonly #schema: SchemaFile;
  readonly #places: readonly number[];
  readonly #counts = { kills: 0, documents: 0, quietPoints: 0 };

  constructor(
    world: World,
    private readonly history: History,
    private readonly options: TrialOptions,
    database: string,
  ) {
    const url = withDatabase(options.servers.postgresUrl, database);
    this.#random = randomOf("trial", options.seed);
    const { text, places } = chosenDocuments(world, database, options.documents ?? null);
    this.#places = places;
    this.#schema = parseSchema(text, "schema.json", {});
    const following: FollowerOptions = {
      schema: this.#schema,
      schemaText: text,
      postgresUrl: url,
      database,
      searchUrl: options.servers.searchUrl,
      loadChunkRows: this.#random.pick([3, 10, 20_000]),
      bulkDocuments: this.#random.pick([2, 10, 5_000]),
    };
    this.#follower = options.kill
      ? new FollowerProcess(following, options.executable)
      : new FollowerHere(following);
    this.#sql = postgres(url, { max: 2, onnotice: () => {} });
    this.#writers = new Writers(url);
    this.#ddl = world.ddl;
  }

  readonly #ddl: readonly string[];

  async run(): Promise<TrialResult> {
    for (const statement of this.#ddl) await this.#sql.unsafe(statement);
    await this.#writers.work(
      this.history.before.map((statement) => ({ writer: 0, parts: [statement], end: "none" })),
    );
    const difference = await this.#follow();
    return { difference, counts: { ...this.#writers.counts, ...this.#counts } };
  }

  async close(): Promise<void> {
    await this.#follower.close();
    await this.#writers.close();
    await this.#sql.end({ timeout: 1 });
  }

  async #follow(): Promise<Difference | null> {
    const { rounds } = this.history;
    let round = -1;
    try {
      await this.#follower.start();
      // Else the first round meets the initial load.
      if (this.#random.chance(0.4)) {
        const difference = await this.#quiet(round);
        if (difference !== null) return difference;
      }
      for (const [place, steps] of rounds.entries()) {
        round = place;
        await both(this.#writers.work(steps), this.#disturb());
        const last = place === rounds.length - 1;
        if (last && this.options.kill && this.#random.chance(0.5)) {
          await this.#follower.kill();
          await this.#follower.runOnce();
          return await this.#compare(place);
        }
        const difference = await this.#quiet(place);
        if (difference !== null) return difference;
      }
      await this.#follower.stop();
    } catch (error) {
      if (error instanceof TrialFault) throw error;
      return { round, text: `the run failed: ${messageOf(error)}`, document: null };
    }
    const refused = this.#follower.deadLetters();
    if (refused.length === 0) return null;
    return { round, text: refused.slice(0, 5).join("\n"), document: null };
  }

  /** Kills the run at random moments and starts it again; one in this process is at times stopped and started. */
  async #disturb(): Promise<void> {
    const { random, follower } = { random: this.#random, follower: this.#follower };
    if (!this.options.kill) {
      if (!random.chance(0.15)) return;
      await delay(random.whole(0, 100));
      await follower.stop();
      await follower.start();
      return;
    }
    for (let kills = random.whole(0, 3); kills > 0; kills--) {
      await delay(random.whole(0, 400));
      await follower.kill();
      this.#counts.kills++;
      await follower.start();
    }
  }

  /**
   * Waits until the run has confirmed all that was written before this call, then compares once: what the index holds then
   * it would hold for ever.
   */
  async #quiet(round: number): Promise<Difference | null> {
    const [row] = await this.#sql<{ lsn: string }[]>`select pg_current_wal_insert_lsn()::text as lsn`;
    const written = parseLsn(row?.lsn ?? "");
    // Positions move by what is committed.
    await this.#sql`select pg_logical_emit_message(true, 'test', '')`;
    let failure: { readonly error: unknown } | null = null;
    await eventually(async () => {
      try {
        return await this.#follower.hasConfirmed(written);
      } catch (error) {
        failure = { error };
        return true;
      }
    }, { what: "the run to confirm what was written", timeout: SETTLE_MS, interval: 5 });
    if (failure !== null) throw (failure as { readonly error: unknown }).error;
    return await this.#compare(round);
  }

  async #compare(round: number): Promise<Difference | null> {
    this.#counts.quietPoints++;
    for (const [place, document] of this.#schema.documents.entries()) {
      const expected = await trialWork(() => expectedDocuments(this.#sql, document));
      const found = await trialWork(() => indexedDocuments(this.options.servers.searchUrl, document.index));
      this.#counts.documents += expected.size;
      try {
        assertSameDocuments(expected, found, round < 0 ? "after the load" : `after round ${round + 1}`);
      } catch (error) {
        if (!(error instanceof AssertionError)) throw new TrialFault("comparison", { cause: error });
        return {
          round,
          text: `index ${document.index}: ${error.message}`,
          document: this.#places[place] ?? null,
        };
      }
    }
    return null;
  }
}

/** Waits for both, whatever becomes of one of them. */
async function both(first: Promise<void>, second: Promise<void>): Promise<void> {
  for (const result of await Promise.allSettled([first, second])) {
    if (result.status === "rejected") throw result.reason;
  }
}

async function trialWork<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new TrialFault(messageOf(cause), { cause });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error);
}

/** The schema file's text with some or all of its documents. */
function chosenDocuments(
  world: World,
  database: string,
  wanted: readonly number[] | null,
): { readonly text: string; readonly places: readonly number[] } {
  const schema: unknown = world.schema(database, (place) => `${database}_${place}`);
  const all: readonly unknown[] = Array.isArray(schema) ? schema : [schema];
  const places = [...all.keys()].filter((place) => wanted === null || wanted.includes(place));
  return { text: JSON.stringify(places.map((place) => all[place]), null, 2), places };
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
