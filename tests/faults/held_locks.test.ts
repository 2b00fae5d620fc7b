/**
 * While the search engine is away, nothing of ours holds a lock or a snapshot in PostgreSQL: an ALTER TABLE of the application would wait
 * behind it, and every query of the application behind that.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { VERIFY_DEFAULTS } from "../../src/verify/verification.ts";
import { verify } from "../../src/sync/verify_run.ts";
import { Bench } from "../integration/support.ts";
import { eventually } from "../support/eventually.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";

const ITEMS = 9_000;
/** Two chunks, each larger than what finds room in the buffers between server and client: a COPY that is not read waits. */
const CHUNKS = { loadChunkRows: 4_500, loadWorkers: 1 };
const DDL = `
  create table owner (id int primary key, name text);
  create table item (id int primary key, owner_id int references owner, note text);
  insert into owner values (1, 'old');
  insert into item select n, 1, repeat('note ', 800) from generate_series(1, ${ITEMS}) as n;
  analyze`;
const NODES =
  "table: item\nchildren:\n  - table: owner\n    relationship: { type: one_to_one, variant: object }";

/** The application changes both tables. It fails where it has to wait for long. */
async function alter(bench: Bench, end: "commit" | "rollback"): Promise<void> {
  const session = await bench.sql.reserve();
  try {
    for (const table of ["item", "owner"]) {
      await session.unsafe("begin; set local statement_timeout = '20s'");
      await session.unsafe(`alter table ${table} add column seen int`);
      await session.unsafe(end);
    }
  } finally {
    session.release();
  }
}

/** Waits until no session of ours has a transaction. (A walsender may have one, of catalogs, while it decodes.) */
async function atRest(bench: Bench): Promise<void> {
  await eventually(async () => {
    const rows = await bench.sql`
      select application_name, state, query from pg_stat_activity
      where datname = ${bench.database.name} and application_name like 'pgsync %'
        and backend_type = 'client backend' and (xact_start is not null or backend_xmin is not null)`;
    assert.deepEqual([...rows], []);
  }, { what: "nothing of ours to be open" });
}

/** Waits until a COPY of ours reads the items, and nobody takes what it gives. */
async function copyWaits(bench: Bench): Promise<void> {
  await eventually(async () => {
    const rows = await bench.sql`
      select from pg_locks join pg_stat_activity using (pid)
      where application_name = 'pgsync load' and wait_event = 'ClientWrite'
        and relation = 'item'::regclass and granted`;
    assert.equal(rows.length, 1);
  }, { what: "a COPY to wait" });
}

test("a fan-out whose documents wait for the search engine", async () => {
  await using bench = await Bench.open(17, DDL, NODES);
  const proxy = await startTcpProxy(bench.searchUrl);
  const search = { ...bench.options.search, urls: [proxy.url] };
  bench.start({ search, bulkConcurrency: 1, bulkDocuments: 100 });
  await bench.settled();
  await proxy.shut();
  await bench.write("update owner set name = 'new'");
  await eventually(() => {
    assert.ok(bench.events.some((event) => event.type === "retry" && event.of === "search"));
  }, { what: "the first documents to be sent" });
  await alter(bench, "commit");
  await atRest(bench);
  await bench.write("update owner set seen = 1", "update item set seen = 1 where id < 100");
  await proxy.open();
  await bench.assertSettled("when the search engine is back");
  await bench.stop();
  await proxy.stop();
});

test("an initial load that waits for the search engine; each document is counted once", async () => {
  await using bench = await Bench.open(17, DDL, NODES, CHUNKS);
  const proxy = await startTcpProxy(bench.searchUrl);
  const search = { ...bench.options.search, urls: [proxy.url] };
  const first = proxy.holdBack(/_bulk/);
  bench.start({ search, bulkDocuments: 100 });
  await first.caught;
  await proxy.shut();
  await copyWaits(bench);
  await alter(bench, "rollback");
  await atRest(bench);
  await proxy.open();
  await bench.assertSettled("when the search engine is back");
  const [index] = bench.synchronizer.status().databases[0]?.indices ?? [];
  assert.deepEqual([index?.load.documents, index?.load.chunksDone], [ITEMS, 2]);
  await bench.stop();
  await proxy.stop();
});

test("a comparison that waits for the search engine; each document is counted once", async () => {
  await using bench = await Bench.open(17, DDL, NODES, CHUNKS);
  await bench.runOnce();
  const proxy = await startTcpProxy(bench.searchUrl);
  const search = { ...bench.options.search, urls: [proxy.url] };
  const first = proxy.holdBack(/_mget/);
  const verified = Array.fromAsync(
    verify({ ...bench.options, search }, VERIFY_DEFAULTS, AbortSignal.timeout(120_000), () => {}),
  );
  await first.caught;
  await proxy.shut();
  await copyWaits(bench);
  await alter(bench, "rollback");
  await atRest(bench);
  await proxy.open();
  const [index] = await verified;
  assert.deepEqual([index?.compared, index?.missing, index?.different, index?.extra], [ITEMS, 0, 0, 0]);
  await proxy.stop();
});
