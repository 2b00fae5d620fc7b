/**
 * Somebody who wants to change a table waits for our open cursor, our building of documents waits behind him, and the cursor
 * is read on only when something is built: a circle through this process, which no server can see.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Bench } from "../integration/support.ts";
import { eventually } from "../support/eventually.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";

test("a fan-out whose table is about to be locked gives way, and comes again", async () => {
  await using bench = await Bench.open(
    17,
    `create table owner (id int primary key, name text);
    create table item (id int primary key, owner_id int references owner, note text);
    insert into owner values (1, 'old');
    insert into item select n, 1, repeat('note ', 200) from generate_series(1, 9000) as n`,
    "table: item\nchildren:\n  - table: owner\n    relationship: { type: one_to_one, variant: object }",
  );
  const proxy = await startTcpProxy(bench.searchUrl);
  bench.start({
    search: { ...bench.options.search, urls: [proxy.url] },
    bulkConcurrency: 1,
    bulkDocuments: 100,
  });
  await bench.settled();
  await proxy.shut();
  await bench.write("update owner set name = 'new'");
  await eventually(async () => {
    const rows = await bench.sql`
      select from pg_locks join pg_stat_activity using (pid)
      where application_name = 'pgsync lookup' and relation = 'item'::regclass and granted`;
    assert.ok(rows.length > 0);
  }, { what: "the cursor over all items to be open" });
  const truncated = bench.sql.begin(async (transaction) => {
    await transaction`lock table item`;
    await transaction`update item set note = 'short' where id = 1`;
  });
  await eventually(async () => {
    const rows = await bench.sql`select from pg_locks where relation = 'item'::regclass and not granted`;
    assert.ok(rows.length > 0);
  }, { what: "somebody to wait for the lock" });
  await proxy.open();
  await truncated;
  await bench.assertSettled("after both");
  await bench.stop();
  await proxy.stop();
});
