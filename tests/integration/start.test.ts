/** What can come between a run and its start. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { delayOrAbort } from "../../src/retry/backoff.ts";
import { eventually } from "../support/eventually.ts";
import { teardown } from "../../src/sync/setup/bootstrap.ts";
import { Bench } from "./support.ts";

const TABLES = `
  create table p (id int primary key);
  create table c (id int primary key, p_id int references p);
  create table d (id int primary key, p_id int references p);
  insert into p values (1), (2);
  insert into c values (1, 1);
  insert into d values (1, 1)`;

// The rows of both children can change their parent, so both need a replica identity.
const NODES = `
table: p
children:
  - {table: c, relationship: {variant: object, type: one_to_many}}
  - {table: d, relationship: {variant: object, type: one_to_many}}`;

describe("A start", () => {
  it("that is stopped at once ends in good order", async () => {
    await using bench = await Bench.open(17, TABLES, NODES);
    bench.start();
    await bench.stop();
    bench.start();
    await bench.assertSettled("after the second start");
  });

  it("gives way to a transaction that waits for it while it waits for that one, and goes on", async () => {
    await using bench = await Bench.open(17, TABLES, NODES);
    const database = bench.database.name;
    // The server looks for a deadlock when a session has waited for so long; the writer leaves it to the run.
    await bench.write(`alter database ${database} set deadlock_timeout = '2s'`);
    const writer = await bench.sql.reserve();
    try {
      await writer.unsafe("set deadlock_timeout = '60s'");
      await writer.unsafe("begin");
      await writer.unsafe("update d set p_id = 2");
      bench.start();
      await eventually(async () => {
        const locks = await bench.sql<{ relation: string; granted: boolean }[]>`
          select relation::regclass::text as relation, granted from pg_locks
          where mode = 'AccessExclusiveLock' and database = (select oid from pg_database where datname = ${database})
          order by relation`;
        assert.deepEqual([...locks], [{ relation: "c", granted: true }, { relation: "d", granted: false }]);
      }, { what: "the run to hold one table and to wait for the writer with the other", interval: 5 });
      await writer.unsafe("update c set p_id = 2");
      await writer.unsafe("commit");
    } finally {
      writer.release();
    }
    await bench.assertSettled("after the writer");
  });

  it("that waits for a locked table can be stopped", async () => {
    await using bench = await Bench.open(17, TABLES, NODES);
    await bench.runOnce();
    const other = await bench.sql.reserve();
    try {
      await other.unsafe("begin; lock table c in access exclusive mode");
      bench.start();
      await eventually(async () => {
        const waiting = await bench.sql`
          select from pg_locks where relation = 'c'::regclass and not granted`;
        return waiting.length > 0;
      }, { what: "the run to wait for the lock", interval: 5 });
      const stopped = bench.stop().then(() => "stopped");
      const limit = new AbortController();
      const late = delayOrAbort(10_000, limit.signal).then(() => "late");
      assert.equal(await Promise.race([stopped, late]), "stopped");
      limit.abort();
    } finally {
      await other.unsafe("rollback");
      other.release();
    }
    await bench.runOnce();
    await bench.assertEqual("after the lock");
  });
});

describe("A teardown", () => {
  it("tells what it removed, and the second time that is nothing", async () => {
    await using bench = await Bench.open(17, "create table r (id int primary key)", "table: r");
    await bench.runOnce();
    const first: string[] = [];
    await teardown(bench.options, (line) => first.push(line));
    assert.deepEqual(first.map((line) => line.replace(/ "?[^ ]+$/, "")), [
      "dropped the replication slot",
      "dropped the publication",
      "removed the checkpoint file",
      "removed the index",
    ]);
    const second: string[] = [];
    await teardown(bench.options, (line) => second.push(line));
    assert.deepEqual(second, []);
  });
});
