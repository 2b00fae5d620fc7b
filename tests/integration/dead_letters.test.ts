/** Documents that are refused, in a run of this process: tried again, counted against the limit, dropped. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { PgsyncError } from "../../src/errors/error.ts";
import { client } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { Bench } from "./support.ts";

/** 1,000 rows on 50 pages and more. `n` is a number in the index and a text here, so that any row can be refused. */
const TABLES = `
  create table item (id int primary key, n text, j jsonb, pad text default repeat('x', 400));
  insert into item (id, n) select g, g::text from generate_series(1, 1000) g;
  create table other (id int primary key, t text);
  insert into other values (1, 'before');
  analyze`;
const NODES = [
  `
table: item
columns: [id, n, j]
transform: { mapping: { n: { type: long } } }`,
  "\ntable: other",
];

/** As many fields as no index takes by default. */
const MANY_FIELDS = `(select jsonb_object_agg('f' || g, g) from generate_series(1, 1100) g)`;

async function withItems(work: (bench: Bench, item: string, other: string) => Promise<void>): Promise<void> {
  await using bench = await Bench.open(17, TABLES, NODES);
  const [item = "", other = ""] = bench.schema.documents.map(({ index }) => index);
  await work(bench, item, other);
}

function statusOf(bench: Bench) {
  const [status] = bench.synchronizer.status().databases;
  if (status === undefined) throw new Error("the run has not begun");
  return status;
}

async function listed(bench: Bench, index: string): Promise<string[]> {
  const { deadLetters } = await bench.synchronizer.deadLetters.list({
    indices: [index],
    ids: null,
    limit: 1_000,
    after: null,
  });
  return deadLetters.map(({ id }) => id);
}

function all(index: string) {
  return { indices: [index], ids: null, after: null };
}

describe("A refused document", () => {
  it("that is tried again is built anew and taken, once the cause is gone", () =>
    withItems(async (bench, item) => {
      bench.start();
      await bench.assertSettled("loaded");
      await bench.write(
        `update item set j = ${MANY_FIELDS} where id in (7, 8)`,
        "update item set n = 'x' where id = 9",
      );
      await bench.settled();
      assert.deepEqual(await listed(bench, item), ["7", "8", "9"]);

      const { deadLetters } = bench.synchronizer;
      const refused = await deadLetters.retry(all(item));
      assert.deepEqual(refused, { found: 3, taken: 0, refused: 3, pending: 0, next: null });
      const [letter] =
        (await deadLetters.list({ indices: [item], ids: null, limit: 1, after: null })).deadLetters;
      assert.deepEqual([letter?.tries, letter?.position !== null], [2, true], "its position is still known");

      const limit = { "index.mapping.total_fields.limit": 5_000 };
      const { status } = await client(bench.searchUrl).request("PUT", `/${item}/_settings`, limit);
      assert.equal(status, 200);
      const one = await deadLetters.retry({ indices: [item], ids: ["7", "unknown"], after: null });
      assert.deepEqual(one, { found: 1, taken: 1, refused: 0, pending: 0, next: null });
      assert.deepEqual(await listed(bench, item), ["8", "9"]);
      const others = await deadLetters.retry(all(item));
      assert.deepEqual(others, { found: 2, taken: 1, refused: 1, pending: 0, next: null });
      assert.deepEqual(await listed(bench, item), ["9"]);

      await bench.write("update item set n = '9' where id = 9");
      await bench.assertSettled("all is mended");
      assert.deepEqual(await listed(bench, item), [], "a later success removes the entry");
    }));

  it("that is tried again again and again while its row changes never shows an older state", () =>
    withItems(async (bench, item) => {
      bench.start();
      await bench.assertSettled("loaded");
      await bench.write("update item set n = 'x' where id <= 50");
      await bench.settled();
      assert.equal((await listed(bench, item)).length, 50);
      const { deadLetters } = bench.synchronizer;
      const writes = (async () => {
        for (let round = 0; round < 40; round++) {
          // Good, bad, good: the list empties and fills.
          await bench.write(`update item set n = ${round % 3 === 1 ? "'x'" : `'${round}'`} where id <= 50`);
        }
      })();
      let tried = 0;
      let written = false;
      void writes.finally(() => written = true);
      for (; !written; await turn()) tried += (await deadLetters.retry(all(item))).found;
      await writes;
      await bench.assertSettled("at the end");
      assert.deepEqual(await listed(bench, item), []);
      assert.ok(tried > 0, "some were tried again meanwhile");
    }));

  it("is forgotten where it is dropped, and the index stays as it is", () =>
    withItems(async (bench, item, other) => {
      bench.start();
      await bench.assertSettled("loaded");
      await bench.write("update item set n = 'x' where id in (7, 8)");
      await bench.settled();
      const { deadLetters } = bench.synchronizer;
      assert.equal(await deadLetters.drop({ indices: [other], ids: ["7"] }), 0);
      assert.equal(await deadLetters.drop({ indices: [item], ids: ["7"] }), 1);
      assert.deepEqual(await listed(bench, item), ["8"]);
      assert.equal((await client(bench.searchUrl).get(item, "7"))?._source["n"], "7");
    }));

  it("can be neither listed nor tried again before a run has begun and after it has ended", () =>
    withItems(async (bench, item) => {
      const { deadLetters } = bench.synchronizer;
      await assert.rejects(listed(bench, item), { code: "RUN_NOT_THERE_YET" });
      bench.start();
      await bench.settled();
      await bench.stop();
      await assert.rejects(deadLetters.retry(all(item)), { code: "RUN_NOT_THERE_YET" });
    }));
});

describe("The limit of dead letters", () => {
  it("holds the initial load, not the stream; the run is not ready, and says why, until the cause is mended", () =>
    withItems(async (bench, item, other) => {
      await bench.write("update item set n = 'x'", "vacuum full item", "analyze item");
      bench.start({ maxDeadLetters: 50, loadChunkRows: 100, loadWorkers: 1 });
      // The chunk that goes beyond it is finished.
      await eventually(() => {
        const { faults, indices: [loading] } = statusOf(bench);
        return faults.length > 0 && loading !== undefined && loading.load.chunksDone > 0;
      }, { what: "the limit to be noticed", timeout: 60_000 });
      const { faults: [fault], ready, notReady, maxDeadLetters, phase, indices } = statusOf(bench);
      assert.equal(fault?.code, "DEAD_LETTER_LIMIT");
      assert.deepEqual([ready, maxDeadLetters, phase], [false, 50, "loading"]);
      assert.match(
        notReady.join("\n"),
        /documents of database .+ are refused, more than the 50 of --max-dead-letters/,
      );
      assert.match(notReady.join("\n"), /pgsync dead-letters list/);
      assert.equal(bench.events.filter(({ type }) => type === "fault").length, 1);

      // Nothing tells that a load does not go on but that other work does: this passes through the stream meanwhile.
      for (const text of ["one", "two", "three"]) {
        await bench.write(`update other set t = '${text}'`);
        await eventually(async () => {
          assert.deepEqual((await client(bench.searchUrl).get(other, "1"))?._source, { id: 1, t: text });
        }, { what: "another index to follow" });
      }
      const held = statusOf(bench).indices[0];
      assert.equal(held?.load.state, "running");
      assert.equal(held.load.chunksDone, indices[0]?.load.chunksDone, "no further chunk was begun");
      assert.ok(held.deadLetters > 50 && held.deadLetters < 500, `${held.deadLetters} dead letters`);
      assert.equal((await listed(bench, item)).length, held.deadLetters, "the list holds them all");

      await bench.write("update item set n = id::text");
      await bench.assertSettled("the rows are mended");
      assert.deepEqual(statusOf(bench).indices.map(({ load, deadLetters }) => [load.state, deadLetters]), [
        ["done", 0],
        ["done", 0],
      ]);
    }));

  it("does not hold the stream: each refused document is on the list before the position moves", () =>
    withItems(async (bench, item, other) => {
      bench.start({ maxDeadLetters: 50 });
      await bench.assertSettled("loaded");
      await bench.write("update item set n = 'x' where id <= 300");
      await eventually(() => !statusOf(bench).ready, { what: "the run to be unready" });
      await bench.write("update item set n = n || '0' where id > 300");
      // The run is not ready, so the position is what tells.
      const [row] = await bench.sql<
        { lsn: string }[]
      >`select pg_logical_emit_message(true, 'test', '')::text as lsn`;
      await eventually(async () => {
        const [caughtUp] = await bench.sql<{ yes: boolean }[]>`
          select confirmed_flush_lsn >= ${row?.lsn ?? ""}::pg_lsn as yes from pg_replication_slots
          where database = current_database()`;
        return caughtUp?.yes === true;
      }, { what: "the position to move" });
      assert.equal((await listed(bench, item)).length, 300);
      await bench.write("alter table other add column more int default 5");
      await eventually(async () => {
        assert.equal((await client(bench.searchUrl).get(other, "1"))?._source["more"], 5);
      }, { what: "the documents to be mapped anew" });
      const told = bench.events.filter(({ type }) => type === "fault").length;
      assert.equal(told, 1, "once, also where the documents are mapped anew");
      assert.equal((await client(bench.searchUrl).get(item, "301"))?._source["n"], "3010");

      assert.equal(await bench.synchronizer.deadLetters.drop({ indices: [item], ids: null }), 300);
      assert.equal(statusOf(bench).ready, true, "dropping them is an answer, too");
      await bench.write("update item set n = id::text");
      await bench.assertSettled("the rows are mended");
    }));

  it("ends a run that is to end by itself with an error, when all is done that can be done", () =>
    withItems(async (bench, item) => {
      await bench.runOnce();
      await bench.write("update item set n = 'x' where id <= 60", "update item set n = '0' where id > 60");
      const limited = { maxDeadLetters: 50 };
      await assert.rejects(bench.runOnce(limited), (error) => {
        assert.ok(error instanceof PgsyncError);
        assert.deepEqual([error.code, error.exitCode], ["DEAD_LETTER_LIMIT", 5]);
        return true;
      });
      assert.equal(
        (await client(bench.searchUrl).get(item, "61"))?._source["n"],
        "0",
        "the others are there",
      );
      assert.equal(bench.deadLetters().length, 60);
      await assert.rejects(bench.runOnce(limited), { code: "DEAD_LETTER_LIMIT" }, "it is so still");
      await bench.runOnce({ maxDeadLetters: 0 });
      await bench.runOnce({ maxDeadLetters: 60 });
    }));

  it("ends such a run in the middle of a load, for nobody would mend it meanwhile", () =>
    withItems(async (bench, item) => {
      await bench.write("update item set n = 'x'", "vacuum full item", "analyze item");
      const limited = { maxDeadLetters: 50, loadChunkRows: 100, loadWorkers: 1 };
      await assert.rejects(bench.runOnce(limited), { code: "DEAD_LETTER_LIMIT" });
      const letters = bench.deadLetters().length;
      await assert.rejects(bench.runOnce(limited), { code: "DEAD_LETTER_LIMIT" });
      assert.equal(bench.deadLetters().length, letters, "nothing was begun");
      await bench.write("update item set n = id::text");
      await bench.runOnce({ maxDeadLetters: 0 });
      await bench.assertEqual("the rows are mended");
      assert.deepEqual(bench.deadLetters(), []);
      assert.equal(await client(bench.searchUrl).count(item), 1_000);
    }));
});
