/** Processes that stand by for one another, over a tree that changes all the time. */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { type SharedElasticsearch, useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import {
  type PgsyncHome,
  pgsyncHome,
  type PgsyncProcess,
  type PgsyncSettings,
} from "../support/pgsync_process.ts";
import { type DatabaseServer, type TestDatabase, usePostgres } from "../support/postgres.ts";
import { settled } from "./settled.ts";
import { assertEqualTree, connect, type Connection, makeTree, treeSchema } from "./tree.ts";

/** The processes have one folder for their checkpoint files (one machine), or each its own (two machines). */
export type Folders = "one folder" | "two folders";

/** Another process has the slot within this time. */
const TAKEN_OVER_WITHIN_MS = 10_000;

/** What the processes of a pair share. */
export interface Pair {
  readonly database: TestDatabase;
  readonly elasticsearch: SharedElasticsearch;
  readonly index: string;
  readonly probeIndex: string;
  readonly slot: string;
  readonly sql: Connection;
  /** Where the first and the second process are started. */
  readonly homes: readonly [PgsyncHome, PgsyncHome];
  /** Starts the process of a home, which stands by or follows the slot. */
  start(home: PgsyncHome, settings?: PgsyncSettings): Promise<PgsyncProcess>;
  /** The process id of the walsender that holds the slot; null where none does. */
  holder(): Promise<number | null>;
  /** Waits until another walsender than this one holds the slot, for 10 s at most. */
  takenOver(from: number | null): Promise<void>;
  /** Waits until the process follows all that is committed now, and compares all documents. */
  assertEqual(run: PgsyncProcess): Promise<number>;
}

/** Makes a tree of `items` items and a table `probe`, and homes for two processes. */
export async function makePair(
  folders: Folders,
  items: number,
  server?: DatabaseServer,
): Promise<Pair> {
  const [postgres, elasticsearch] = await Promise.all([server ?? usePostgres(), useElasticsearch()]);
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("pair");
  const probeIndex = elasticsearch.indexName("probe");
  await makeTree(database.url, items);
  const sql = connect(database.url);
  await sql`CREATE TABLE probe (id serial PRIMARY KEY, n text)`;
  const tree = treeSchema(database.name, index);
  assert.ok(Array.isArray(tree));
  // A word in `n` is a document that the engine refuses.
  const probe = { table: "probe", transform: { mapping: { n: { type: "long" } } } };
  const schema: unknown = [...tree, { database: database.name, index: probeIndex, nodes: probe }];
  const home = () => pgsyncHome({ schema, postgresUrl: database.url, searchUrl: elasticsearch.url });
  const first = home();
  const slot = `pgsync_${database.name}`;
  const holder = async () => {
    const [row] = await sql<{ pid: number | null }[]>`
      SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = ${slot}`;
    return row?.pid ?? null;
  };
  return {
    ...{ database, elasticsearch, index, probeIndex, slot, sql, holder },
    homes: [first, folders === "one folder" ? first : home()],
    start: (at, settings = {}) => at.start(["--daemon", "--standby", "--bootstrap"], settings),
    takenOver: async (from) => {
      await eventually(async () => {
        const now = await holder();
        assert.ok(now !== null && now !== from, `the slot is held by ${now}`);
      }, { what: "another process to take over", timeout: TAKEN_OVER_WITHIN_MS });
    },
    assertEqual: async (run) => {
      await settled(run, database.url);
      return await assertEqualTree(database.url, elasticsearch, index);
    },
  };
}

/** Waits until a process stands by: it is healthy, and says so. */
export async function standsBy(run: PgsyncProcess, timeout = 60_000): Promise<void> {
  await run.logged(/standing by: slot .* is held by process \d+/, timeout);
  await eventually(async () => {
    assert.deepEqual(await run.get("/health"), { status: 200, body: { status: "alive" } });
    const { status, body } = await run.get("/ready");
    assert.match(JSON.stringify(body), /"status":"standby","ready":false.*is held by process/);
    assert.equal(status, 503);
    assert.equal((await run.get("/ready?standby=ok")).status, 200);
  }, { what: "the process to stand by", timeout });
}

/** The processes by what they do: follow the slot, or stand by. */
async function parted(runs: readonly PgsyncProcess[]) {
  const phases = await Promise.all(runs.map(async (run) => {
    const { databases: [database] } = await run.status();
    return { run, isStandby: database?.standby === true, isReady: database?.ready === true };
  }));
  return {
    leaders: phases.filter(({ isReady }) => isReady).map(({ run }) => run),
    standbys: phases.filter(({ isStandby }) => isStandby).map(({ run }) => run),
  };
}

/** Waits until one follows the slot and all others stand by. @returns the one */
export async function oneLeads(runs: readonly PgsyncProcess[]): Promise<PgsyncProcess> {
  return await eventually(async () => {
    const { leaders: [leader], standbys } = await parted(runs);
    assert.ok(leader !== undefined && standbys.length === runs.length - 1, "not yet");
    return leader;
  }, { what: "one to follow the slot and the others to stand by", timeout: 60_000 });
}

/** A row now and then, whose document is waited for. */
export interface Probe {
  /** The longest time without a document since the last call, in milliseconds. */
  longest(): number;
  /** Waits for another document. */
  another(): Promise<void>;
  stop(): Promise<void>;
}

/** Writes row after row, each when the document of the one before is in the index. */
export function startProbe({ database, elasticsearch, probeIndex }: Pair): Probe {
  const sql = connect(database.url);
  let stopped = false;
  let last = performance.now();
  let longest = 0;
  let seen = 0;
  const probe = async () => {
    while (!stopped) {
      const [row] = await sql<{ id: number }[]>`INSERT INTO probe DEFAULT VALUES RETURNING id`;
      const id = String(row?.id);
      while (!stopped && await elasticsearch.get(probeIndex, id) === null) await delay(20);
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
      seen++;
    }
  };
  const probing = probe();
  return {
    longest() {
      const now = performance.now();
      const result = Math.max(longest, now - last);
      longest = 0;
      last = now;
      return result;
    },
    async another() {
      // The one after the next was surely written after this call.
      const goal = seen + 2;
      await eventually(() => seen >= goal, { what: "a document to arrive", timeout: 60_000 });
    },
    async stop() {
      stopped = true;
      await probing;
      await sql.end();
    },
  };
}
