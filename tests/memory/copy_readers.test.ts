/** Who reads a COPY holds memory only for what has come, and gives it back however the COPY ends. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { WorkMemory } from "../../src/documents/work_memory.ts";
import { RunMemory } from "../../src/sync/run_memory.ts";
import { Bench } from "../integration/support.ts";
import { eventually } from "../support/eventually.ts";
import { opened } from "./opened.ts";

/** More than the sockets' buffers hold. */
const TABLE = `
  create table k (id int primary key, n text);
  insert into k select n, repeat('x', 200000) from generate_series(1, 100) n`;

const memoryOf = ({ options }: Bench): WorkMemory => new RunMemory(options, 1, 1).work;

for (const reader of ["load", "compare"] as const) {
  test(`${reader}: nothing is held while PostgreSQL keeps a COPY waiting, and all is given back when its connection dies while it waits for memory`, async () => {
    await using bench = await Bench.open(17, TABLE, "\ntable: k");
    const memory = memoryOf(bench);
    const { documents } = memory;
    await using open = await opened(bench, memory);
    const { session } = open;
    await open.load();
    const { promise: unlocked, resolve: unlock } = Promise.withResolvers<void>();
    const { promise: locked, resolve: isLocked } = Promise.withResolvers<void>();
    const locking = bench.sql.begin(async (transaction) => {
      await transaction`lock table k`;
      isLocked();
      await unlocked;
    });
    await locked;
    const reading = open[reader]();
    await eventually(async () => {
      const waiting = await bench.sql`
        select 1 from pg_locks where not granted and relation = 'k'::regclass and database = (
          select oid from pg_database where datname = current_database()
        )`;
      assert.equal(waiting.length, 1);
    }, { what: "the COPY to wait for the lock" });
    assert.equal(documents.held, 0, "while it waits for the lock");

    const others = await documents.acquire(documents.limit);
    unlock();
    await locking;
    await eventually(() => assert.equal(documents.waiting, 1), { what: "a row to wait for memory" });
    open.cut();
    // By then whoever read has heard of it.
    await session.loaders`select 1`;
    others.release();
    await reading;
    assert.deepEqual([documents.held, documents.waiting], [0, 0]);
    assert.deepEqual(open.faults, ["POSTGRES_UNREACHABLE"], "the COPY was begun anew");
  });
}
