import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import postgres from "postgres";
import { Floor } from "../../../scripts/bench/candidates/floor.ts";
import { arrivalOf } from "../../../scripts/bench/measure/arrival.ts";
import { Search } from "../../../scripts/bench/search.ts";
import { useElasticsearch } from "../../support/elasticsearch.ts";
import { usePostgres } from "../../support/postgres.ts";

const ROWS = 2_000;

/** A floor of small documents in an index of its own. The accounts are this process', whose cost is of no interest here. */
async function floorOf(t: { after(end: () => Promise<void>): void }, loadSql: string) {
  const { url, drop } = await (await usePostgres()).createDatabase();
  const { url: searchUrl, indexName } = await useElasticsearch();
  const search = new Search(searchUrl);
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  await sql.unsafe(`CREATE TABLE note (id int PRIMARY KEY, body text);
    INSERT INTO note SELECT id, repeat('é', 200) FROM generate_series(1, ${ROWS}) AS id`);
  const plan = {
    index: indexName("notes"),
    mapping: { properties: { mark: { type: "integer" } } },
    settings: { "index.number_of_replicas": 0 },
    loadSql,
    keysSql:
      "SELECT k::text AS id, json_build_object('mark', 7)::text AS document FROM unnest($1::int[]) AS k",
  };
  const servers = { postgresUrl: url, search, postgresPid: () => process.pid, searchPid: process.pid };
  // Bodies far smaller than all documents together.
  const floor = new Floor(servers, [plan], { bytesARequest: 20_000, requestsInFlight: 2 });
  t.after(async () => {
    await floor.clear();
    await sql.end();
    await drop();
  });
  return { floor, search, index: floor.indices[0] ?? "" };
}

const LOAD = "SELECT id::text AS id, json_build_object('body', body, 'mark', 0)::text AS document FROM note";

test("the floor writes all documents, and then some of them again", async (t) => {
  const { floor, search, index } = await floorOf(t, LOAD);
  const { seconds, peakRss } = await floor.load();
  assert.ok(seconds > 0 && peakRss > 1e6);
  await floor.refreshAsUsual();
  assert.equal(await search.count(index), ROWS);

  const costs = await floor.write(["SELECT id FROM note WHERE id <= 30"], 3);
  assert.equal(costs.length, 3);
  assert.equal(await search.written(index), ROWS + 3 * 30);
  assert.equal(await search.count(index, { term: { mark: 7 } }), 30);
  assert.equal(await search.count(index, { term: { mark: 0 } }), ROWS - 30);
});

test("a statement that fails in the middle ends the floor", async (t) => {
  const { floor } = await floorOf(t, LOAD.replace("id::text", "(1 / (1500 - id))::text"));
  await assert.rejects(floor.load(), /division by zero/);
});

test("a change has arrived when the index holds it, not when as much was written", async (t) => {
  const { floor, search, index } = await floorOf(t, LOAD);
  await floor.load();
  const expected = { index, query: { term: { mark: 7 } }, documents: 40 };
  const arrival = await arrivalOf(search, [expected]);
  let hasArrived = false;
  const waiting = arrival.wait().then((at) => {
    hasArrived = true;
    return at;
  });
  // Twice the same: as many as are expected, but only half of them.
  await floor.write(["SELECT id FROM note WHERE id <= 20"], 2);
  // Seen by whoever waits, since it looks at the same.
  assert.equal(await search.count(index, expected.query), 20);
  assert.equal(hasArrived, false);
  const before = performance.now();
  await floor.write(["SELECT id FROM note WHERE id BETWEEN 21 AND 40"], 1);
  assert.ok(await waiting > before);
});
