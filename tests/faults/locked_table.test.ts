/** A table that somebody has locked for long: it is waited for, the log says so, and nothing begins again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Bench } from "../integration/support.ts";
import { eventually } from "../support/eventually.ts";

const ITEMS = 9_000;
const BEFORE = 2_000;

test("a fan-out whose table is locked in the middle of it waits, and goes on where it was", async () => {
  await using bench = await Bench.open(
    17,
    `create table owner (id int primary key, name text);
    create table item (id int primary key, owner_id int references owner, note text);
    insert into owner values (1, 'old');
    insert into item select n, 1, repeat('note ', 200) from generate_series(1, ${ITEMS}) as n`,
    "table: item\nchildren:\n  - table: owner\n    relationship: { type: one_to_one, variant: object }",
  );
  const written = () =>
    bench.events.reduce(
      (sum, event) =>
        event.type === "bulk" && event.source === "stream" ? sum + event.indexed + event.conflicts : sum,
      0,
    );
  bench.start({ bulkConcurrency: 1, bulkDocuments: 20 });
  await bench.settled();
  await bench.write("update owner set name = 'new'");
  await eventually(() => assert.ok(written() >= BEFORE), {
    what: "some documents to be written",
    interval: 1,
  });
  await bench.sql.begin(async (transaction) => {
    await transaction`lock table item`;
    await eventually(() => {
      const told = bench.events.find((event) => event.type === "retry" && event.of === "postgresql");
      assert.ok(told?.type === "retry");
      assert.equal(told.fault.code, "POSTGRES_BUSY");
    }, { what: "the run to say that it waits" });
  });
  await bench.assertSettled("after the lock");
  assert.ok(written() < ITEMS + BEFORE / 2, `${written()} documents were written`);
  await bench.stop();
});
