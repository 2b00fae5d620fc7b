/** Nobody holds memory while PostgreSQL keeps him waiting: one database must not stop the others. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LEAST_BUDGET } from "../../src/memory/budget.ts";
import { RunMemory } from "../../src/sync/run_memory.ts";
import { Bench } from "../integration/support.ts";
import { eventually } from "../support/eventually.ts";
import { opened } from "./opened.ts";

const ROWS = 4_000;
const TABLE =
  `create table k (id int primary key, n int); insert into k select n, n from generate_series(1, ${ROWS}) n`;
const KEYS = Array.from({ length: ROWS }, (_, at) => String(at + 1));

test("while a table is locked, documents of other databases have all the memory; then it comes to its end beside them", async () => {
  await using one = await Bench.open(17, TABLE, "\ntable: k", { maxMemoryBytes: LEAST_BUDGET });
  await using other = await Bench.open(17, TABLE, "\ntable: k", { maxMemoryBytes: LEAST_BUDGET });
  const { work: memory } = new RunMemory(one.options, 2, 2);
  const { documents } = memory;
  await using locked = await opened(one, memory);
  await using free = await opened(other, memory);
  const { promise: unlocked, resolve: unlock } = Promise.withResolvers<void>();
  const { promise: isLocked, resolve: hasLocked } = Promise.withResolvers<void>();
  const locking = one.sql.begin(async (transaction) => {
    await transaction`lock table k`;
    hasLocked();
    await unlocked;
  });
  await isLocked;
  const waiting = locked.write(KEYS);
  await eventually(() => assert.ok(documents.waiting > 0 || documents.held > documents.limit / 2), {
    what: "the memory to be taken",
    interval: 1,
  });
  // At first, and when it was told that the table is locked.
  for (let round = 0; round < 2; round++) {
    await free.write(KEYS);
    await eventually(() => assert.ok(locked.faults.length > 0), { what: "the lock to be told of" });
  }
  await eventually(async () => {
    const statements = await one.sql`
      select 1 from pg_locks where not granted and relation = 'k'::regclass and database = (
        select oid from pg_database where datname = current_database()
      )`;
    assert.ok(statements.length > 0);
    assert.equal(documents.held, 0);
  }, { what: "statements to wait for the lock without holding anything", interval: 1 });
  assert.deepEqual([...new Set(locked.faults)], ["POSTGRES_BUSY"]);

  const others = await documents.acquire(documents.limit);
  unlock();
  await locking;
  await eventually(() => assert.ok(documents.waiting > 0), {
    what: "documents that have come to wait for memory",
  });
  others.release();
  await waiting;
  assert.deepEqual([documents.held, documents.waiting, locked.indexed()], [0, 0, ROWS]);
});
