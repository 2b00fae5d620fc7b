/**
 * Large changes: memory stays bounded, and a server that cuts off who is silent for 5 s hears from us all the while. It
 * spills its transactions to the disk, as one with large transactions does.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, test } from "node:test";
import postgres from "postgres";
import { memoryOf } from "../../scripts/bench/measure/usage.ts";
import { build } from "../../scripts/build.ts";
import type { PostgresServer } from "../../scripts/servers/postgres.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";
import { type SharedElasticsearch, useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { pgsyncHome, type PgsyncProcess } from "../support/pgsync_process.ts";
import { ownPostgres, withDatabase } from "../support/postgres.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";

/** Rows of a table that a transaction changes. */
const ROWS = 60_000;
/** The server cuts a connection that is silent for so long, in seconds, */
const WAL_SENDER_TIMEOUT = 5;
/** and this long the stream is held back. */
const HELD_SECONDS = 12;
/** In bytes, of the executable; 80 MB of them are the idle program. Before memory was bounded it was 220 MB and more. */
const MOST_RESIDENT = 200e6;

const TABLES = `
  CREATE TABLE country (id int PRIMARY KEY, name text NOT NULL);
  CREATE TABLE item (id int PRIMARY KEY, country_id int NOT NULL, title text NOT NULL, body text NOT NULL);
  CREATE TABLE part (id int PRIMARY KEY, item_id int NOT NULL, name text NOT NULL);
  CREATE INDEX ON item (country_id);
  CREATE INDEX ON part (item_id);
  INSERT INTO country VALUES (1, 'one')`;

const insertItems = (count: number) =>
  `INSERT INTO item SELECT id, 1, 'item ' || id, repeat(md5(id::text), 8) FROM generate_series(1, ${count}) AS id`;
/** Every part names an item, there or not. */
const insertParts = (name: string) =>
  `INSERT INTO part SELECT id, id, '${name}' FROM generate_series(1, ${ROWS}) AS id`;

function schema(database: string, index: string): unknown {
  const link = (parent: string, child: string) => ({ parent: [parent], child: [child] });
  return [{
    database,
    index,
    nodes: {
      table: "item",
      columns: ["id", "title", "body"],
      children: [
        {
          table: "country",
          columns: ["name"],
          relationship: { type: "one_to_one", variant: "object", foreign_key: link("country_id", "id") },
        },
        {
          table: "part",
          label: "parts",
          columns: ["id", "name"],
          relationship: { type: "one_to_many", variant: "object", foreign_key: link("id", "item_id") },
        },
      ],
    },
  }];
}

describe("large changes", () => {
  const folder = temporaryFolder("large");
  const sessions: postgres.Sql[] = [];
  let server: PostgresServer;
  let elasticsearch: SharedElasticsearch;

  before(async () => {
    [server, elasticsearch] = await Promise.all([
      ownPostgres({
        settings: { wal_sender_timeout: `${WAL_SENDER_TIMEOUT}s`, logical_decoding_work_mem: "64kB" },
      }),
      useElasticsearch(),
    ]);
  });
  after(async () => {
    await Promise.all(sessions.map((sql) => sql.end()));
    removeFolder(folder);
  });

  /** A database of its own, so that a test that fails leaves the others alone. */
  async function makeDatabase(name: string): Promise<{ sql: postgres.Sql; url: string }> {
    const admin = postgres(server.url, { max: 1 });
    await admin`CREATE DATABASE ${admin(name)}`;
    await admin.end();
    const url = withDatabase(server.url, name);
    const sql = postgres(url, { max: 2, onnotice: () => {} });
    sessions.push(sql);
    await sql.unsafe(TABLES);
    return { sql, url };
  }

  /** Waits until everything committed before is acknowledged and confirmed. */
  async function confirmed(sql: postgres.Sql, run: PgsyncProcess): Promise<void> {
    const [row] = await sql<{ lsn: string }[]>`SELECT pg_current_wal_insert_lsn()::text AS lsn`;
    await sql`SELECT pg_logical_emit_message(true, 'test', '')`;
    await eventually(async () => {
      assert.equal(memoryOf(run.pid) === null, false, "pgsync has ended");
      const [slot] = await sql<{ passed: boolean }[]>`
        SELECT confirmed_flush_lsn >= ${row?.lsn ?? ""}::pg_lsn AS passed
        FROM pg_replication_slots WHERE database = current_database()`;
      return slot?.passed === true;
    }, { what: "the changes to be confirmed", timeout: 240_000, interval: 100 });
  }

  /** How many documents show a text in a field. */
  async function showing(index: string, field: string, text: string): Promise<number> {
    await elasticsearch.request("POST", `/${index}/_refresh`);
    const { body } = await elasticsearch.request("POST", `/${index}/_count`, {
      query: { match_phrase: { [field]: text } },
    });
    assert.ok(typeof body === "object" && body !== null && "count" in body && typeof body.count === "number");
    return body.count;
  }

  test("the executable's memory stays bounded", { skip: process.platform !== "linux" }, async () => {
    const index = elasticsearch.indexName("memory");
    const { sql, url } = await makeDatabase("memory");
    const home = pgsyncHome({
      schema: schema("memory", index),
      postgresUrl: url,
      searchUrl: elasticsearch.url,
      executable: await build({ outfile: join(folder, "pgsync") }),
    });
    const run = await home.start(["--daemon", "--bootstrap"]);
    await run.ready();
    const peak = () => memoryOf(run.pid)?.peak ?? NaN;
    const peaks = { idle: peak(), transaction: NaN, fanOut: NaN };
    await sql.unsafe(`${insertItems(ROWS)}; ${insertParts("part")}`);
    await confirmed(sql, run);
    peaks.transaction = peak();
    assert.equal(await showing(index, "parts.name", "part"), ROWS);
    await sql`UPDATE country SET name = 'renamed'`;
    await confirmed(sql, run);
    peaks.fanOut = peak();
    assert.equal(await showing(index, "country.name", "renamed"), ROWS);
    assert.ok(peaks.fanOut <= MOST_RESIDENT, JSON.stringify(peaks));
    assert.equal((await run.end("SIGTERM")).code, 0);
  });

  test("the server hears from a stream that is held back for long", async () => {
    const index = elasticsearch.indexName("held");
    const proxy = await startTcpProxy(elasticsearch.url);
    // Few documents: what is held back are changes.
    const { sql, url } = await makeDatabase("held");
    await sql.unsafe(insertItems(1_000));
    const home = pgsyncHome({ schema: schema("held", index), postgresUrl: url, searchUrl: proxy.url });
    const run = await home.start(["--daemon", "--bootstrap"], {
      // A transaction of this test's size does not fit.
      env: { PGSYNC_MAX_MEMORY_MB: "4" },
    });
    await run.ready();
    const [first] = await walsenders(sql);
    proxy.delayAnswers(true);
    // Long rows, so that what does not fit here does not fit into the sockets' buffers either.
    await sql.unsafe(insertParts(`held ${"-".repeat(2_500)}`));
    await eventually(async () => (await walsenders(sql))[0]?.waits === true, {
      what: "the server to wait for us to read",
      timeout: 60_000,
    });
    const since = performance.now();
    let silence = 0;
    await eventually(async () => {
      const senders = await walsenders(sql);
      assert.equal(senders.length, 1, "the connection was lost");
      for (const { pid, waits, silent } of senders) {
        silence = Math.max(silence, silent);
        if (pid !== first?.pid || !waits) throw new Error(JSON.stringify(senders));
      }
      return performance.now() - since > HELD_SECONDS * 1000;
    }, { what: "the time to pass", timeout: 60_000, interval: 100 });
    assert.ok(silence < WAL_SENDER_TIMEOUT, `the server heard nothing for ${silence} s`);
    proxy.delayAnswers(false);
    await confirmed(sql, run);
    assert.deepEqual(
      (await walsenders(sql)).map(({ pid }) => pid),
      [first?.pid],
      "it is still the same connection",
    );
    assert.doesNotMatch(server.log(), /terminating walsender process due to replication timeout/);
    assert.equal(await showing(index, "parts.name", "held"), 1_000);
    assert.equal((await run.end("SIGTERM")).code, 0);
    await proxy.stop();
  });

  /** The server's side of the stream. */
  async function walsenders(sql: postgres.Sql) {
    return await sql<{ pid: number; waits: boolean; silent: number }[]>`
      SELECT
        pid,
        activity.wait_event IS NOT DISTINCT FROM 'WalSenderWriteData' AS waits,
        extract(epoch FROM clock_timestamp() - replication.reply_time)::float8 AS silent
      FROM pg_stat_replication AS replication JOIN pg_stat_activity AS activity USING (pid)
      WHERE activity.datname = current_database()`;
  }
});
