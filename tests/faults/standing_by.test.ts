/** Processes that stand by (`--standby`): who follows the slot, when several could, and what the others do meanwhile. */
import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { pgsyncHome, type PgsyncProcess } from "../support/pgsync_process.ts";
import { databasesOf, ownPostgres, usePostgres, withDatabase } from "../support/postgres.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { startSearchProxy } from "../support/search_proxy.ts";
import { seededRandom } from "../support/random.ts";
import { makePair, oneLeads, standsBy } from "./pair.ts";
import { notReady } from "./settled.ts";
import { connect, startWriters, treeSchema } from "./tree.ts";

test("two are started at once, before there is a slot: one makes it, and the other stands by", async () => {
  const pair = await makePair("two folders", 500);
  const runs = await Promise.all(pair.homes.map((home) => pair.start(home)));
  const leader = await oneLeads(runs);
  await pair.assertEqual(leader);
  const made = runs.filter((run) => /created the replication slot/.test(run.stderr()));
  assert.deepEqual(made.map(({ pid }) => pid), [leader.pid]);
  for (const run of runs) assert.equal((await run.end("SIGTERM")).code, 0);
  await pair.sql.end();
});

test("of two that stand by, one wins, and the other goes on waiting", async () => {
  const pair = await makePair("two folders", 500);
  const [one, two] = pair.homes;
  const first = await pair.start(one);
  await first.ready();
  const others = await Promise.all([pair.start(two), pair.start(two), pair.start(one)]);
  for (const run of others) await standsBy(run);
  const writers = startWriters(pair.database.url, seededRandom(5), 2);
  let leader = first;
  let rest: readonly PgsyncProcess[] = others;
  try {
    while (rest.length > 1) {
      await leader.end("SIGKILL");
      leader = await oneLeads(rest);
      rest = rest.filter((run) => run !== leader);
    }
  } finally {
    await writers.stop();
  }
  await pair.assertEqual(leader);
  for (const run of [...rest, leader]) assert.equal((await run.end("SIGTERM")).code, 0);
  await pair.sql.end();
});

test("whose session is cut comes back to its slot, and nobody takes it; also while its tables change", async () => {
  const pair = await makePair("two folders", 500);
  const [one, two] = pair.homes;
  const first = await pair.start(one);
  await first.ready();
  const second = await pair.start(two);
  await standsBy(second);
  for (let round = 0; round < 3; round++) {
    const holder = await pair.holder();
    const ended = await second.get("/health").then(() => one.run(["take-over"]));
    assert.match(ended.stdout, new RegExp(`^ended process ${holder} `));
    await eventually(async () => {
      const now = await pair.holder();
      assert.ok(now !== null && now !== holder);
    }, { what: "another session" });
    await pair.assertEqual(first);
  }
  await pair.sql`ALTER TABLE item ALTER COLUMN amount TYPE bigint`;
  await first.logged(/mapped and compared anew/);
  await pair.assertEqual(first);
  assert.doesNotMatch(first.stderr(), /was replaced/);
  assert.doesNotMatch(second.stderr(), /is free/);
  for (const run of [second, first]) assert.equal((await run.end("SIGTERM")).code, 0);
  await pair.sql.end();
});

test("whose tables change again and again, so that it waits longer each time, keeps its slot", async () => {
  const pair = await makePair("two folders", 100);
  const [one, two] = pair.homes;
  const first = await pair.start(one);
  await first.ready();
  const second = await pair.start(two);
  await standsBy(second);
  for (const [at, type] of ["bigint", "numeric", "bigint", "numeric", "bigint"].entries()) {
    await pair.sql.unsafe(`ALTER TABLE item ALTER COLUMN amount TYPE ${type}`);
    await eventually(() => {
      const times = first.stderr().match(/mapped and compared anew/g) ?? [];
      assert.ok(times.length > at);
    }, { what: `change ${at} to be noticed`, timeout: 60_000 });
    await first.ready();
  }
  await pair.assertEqual(first);
  assert.doesNotMatch(first.stderr(), /was replaced/);
  assert.doesNotMatch(second.stderr(), /is free/);
  for (const run of [second, first]) assert.equal((await run.end("SIGTERM")).code, 0);
  await pair.sql.end();
});

test("a walsender of ours that has not ended yet is no other process: it is waited for", async () => {
  const server = await ownPostgres();
  const pair = await makePair("two folders", 100, databasesOf(server));
  const [one, two] = pair.homes;
  const first = await pair.start(one);
  await first.ready();
  const second = await pair.start(two);
  await standsBy(second);
  const holder = await pair.holder();
  assert.ok(holder !== null);
  // It does not notice that its client has gone, as one that is decoding a large transaction.
  process.kill(holder, "SIGSTOP");
  try {
    // In the stream nothing tells of it.
    await pair.sql`ALTER TABLE item ALTER COLUMN amount TYPE bigint`;
    await first.logged(/mapped and compared anew/, 60_000);
    await first.logged(new RegExp(`in use by process ${holder} `), 60_000);
    assert.equal(await pair.holder(), holder);
  } finally {
    process.kill(holder, "SIGCONT");
  }
  await pair.assertEqual(first);
  assert.notEqual(await pair.holder(), holder);
  assert.doesNotMatch(first.stderr(), /was replaced/);
  assert.doesNotMatch(second.stderr(), /is free/);
  for (const run of [second, first]) assert.equal((await run.end("SIGTERM")).code, 0);
  await pair.sql.end();
  await pair.database.drop();
});

for (const folders of ["one folder", "two folders"] as const) {
  test(`PostgreSQL is restarted while one stands by, ${folders}: the first keeps its slot, the other stands by`, async () => {
    const server = await ownPostgres();
    const pair = await makePair(folders, 500, databasesOf(server));
    const [one, two] = pair.homes;
    const first = await pair.start(one);
    await first.ready();
    const second = await pair.start(two);
    await standsBy(second);
    await pair.sql.end();
    await server.halt("fast");
    await notReady(second, /"status":"not-ready".*could not take over now: PostgreSQL/);
    await notReady(first, /not connected/);
    // By then it waits for seconds between two attempts, longer than the slot has to be free.
    await eventually(async () => {
      const { databases: [database] } = await first.status();
      assert.ok((database?.stream.reconnects ?? 0) >= 6, `${database?.stream.reconnects} attempts`);
    }, { what: "attempts in vain", timeout: 60_000 });
    await server.start();
    assert.equal(await oneLeads([first, second]), first, "the first one is back at once");
    assert.doesNotMatch(second.stderr(), /is free/);
    const sql = connect(pair.database.url);
    await sql`UPDATE item SET amount = amount + 1 WHERE id <= 100`;
    await pair.assertEqual(first);
    await first.end("SIGKILL");
    await sql`DELETE FROM item WHERE id <= 10`;
    await second.ready();
    await pair.assertEqual(second);
    assert.equal((await second.end("SIGTERM")).code, 0);
    await sql.end();
    await pair.database.drop();
  });
}

test("of two databases, one is followed and the other stood by for, until it is free, too", async () => {
  const [server, search] = await Promise.all([usePostgres(), useElasticsearch()]);
  const sides = await Promise.all(["one", "two"].map(async (name) => {
    const database = await server.createDatabase();
    const sql = connect(database.url);
    await sql.unsafe(
      "CREATE TABLE book (id int PRIMARY KEY); INSERT INTO book SELECT generate_series(1, 100)",
    );
    return {
      sql,
      document: { database: database.name, index: search.indexName(name), nodes: { table: "book" } },
    };
  }));
  const [one] = sides;
  assert.ok(one !== undefined);
  const shared = { postgresUrl: server.url, searchUrl: search.url };
  const args = ["--daemon", "--standby", "--bootstrap"];
  const first = await pgsyncHome({ ...shared, schema: [one.document] }).start(args);
  await first.ready();
  const both = pgsyncHome({ ...shared, schema: sides.map(({ document }) => document) });
  const second = await both.start(args);
  await eventually(async () => {
    const { ready, standby, databases } = await second.status();
    assert.deepEqual({ ready, standby }, { ready: false, standby: true });
    assert.deepEqual(databases.map(({ phase }) => phase), ["standby", "streaming"]);
  }, { what: "the second to follow one of both", timeout: 60_000 });
  assert.equal((await second.get("/ready")).status, 503);
  assert.equal((await second.get("/ready?standby=ok")).status, 200);
  await first.end("SIGKILL");
  await second.ready();
  for (const { sql, document } of sides) {
    await sql`DELETE FROM book WHERE id > 60`;
    await eventually(async () => assert.equal(await search.count(document.index), 60));
    await sql.end();
  }
  assert.equal((await second.end("SIGTERM")).code, 0);
});

test("what a standby cannot do is said at its start", async () => {
  const pair = await makePair("two folders", 10);
  const [home] = pair.homes;
  const alone = await home.run(["--standby", "--bootstrap"]);
  assert.equal(alone.code, 2, alone.stderr);
  assert.match(alone.stderr, /^error USAGE: .*has to stay\.\n *Add --daemon/m);
  const without = await home.run(["--standby", "--daemon"]);
  assert.equal(without.code, 4, without.stderr);
  assert.match(without.stderr, /^error (PUBLICATION_MISSING|SLOT_MISSING|REPLICA_IDENTITY)/m);
  await pair.sql.end();
});

test("one that cannot use the search engine, the index or its folder ends while it stands by, not when it is needed", async () => {
  const pair = await makePair("two folders", 10);
  const [one, two] = pair.homes;
  const first = await pair.start(one);
  await first.ready();
  const locked = await startSearchProxy(pair.elasticsearch.url);
  const taken = pair.elasticsearch.indexName("taken");
  await pair.elasticsearch.request("PUT", taken, {});
  const other = pgsyncHome({
    schema: treeSchema(pair.database.name, taken),
    postgresUrl: pair.database.url,
    searchUrl: pair.elasticsearch.url,
  });
  try {
    locked.fail({ kind: "status", status: 403 }, "all");
    const refused = await pair.start(two, { env: { ELASTICSEARCH_URL: locked.url } });
    const [login, foreign, folder] = await Promise.all([
      refused.exit(),
      pair.start(other).then((run) => run.exit()),
      pair.start(two, { env: { CHECKPOINT_PATH: join(two.folder, "missing"), PGSYNC_LISTEN: "off" } })
        .then((run) => run.exit()),
    ]);
    assert.match(login.stderr, /^error SEARCH_LOGIN/m);
    assert.match(foreign.stderr, /^error INDEX_FOREIGN/m);
    assert.match(folder.stderr, /^error CHECKPOINT_UNUSABLE: .*missing/m);
    assert.deepEqual([login.code, foreign.code, folder.code], [3, 4, 4]);
  } finally {
    await locked.stop();
  }
  await pair.assertEqual(first);
  assert.equal((await first.end("SIGTERM")).code, 0);
  await pair.sql.end();
});

test("while the search engine is away, a process that stands by takes the slot over from one that is stopped", async () => {
  const pair = await makePair("two folders", 200);
  const [one, two] = pair.homes;
  const gateway = await startSearchProxy(pair.elasticsearch.url);
  const env = { ELASTICSEARCH_URL: gateway.url };
  try {
    const first = await pair.start(one, { env });
    await first.ready();
    const second = await pair.start(two, { env });
    await standsBy(second);
    gateway.fail({ kind: "status", status: 503 }, "all");
    await pair.sql`UPDATE item SET amount = amount + 1 WHERE id <= 100`;
    await notReady(first, /The search engine does not take documents/);
    // It comes back by itself.
    const before = await pair.holder();
    const ended = await two.run(["take-over"]);
    assert.match(ended.stdout, new RegExp(`^ended process ${before} `));
    await pair.takenOver(before);
    const holder = await pair.holder();
    first.signal("SIGTERM");
    await pair.takenOver(holder);
    const { code, stderr } = await first.exit();
    assert.equal(code, 0, stderr);
    await notReady(second, /The search engine does not take documents/);
    gateway.mend();
    await pair.assertEqual(second);
    assert.equal((await second.end("SIGTERM")).code, 0);
  } finally {
    await gateway.stop();
  }
  await pair.sql.end();
});

test("one folder, and the first is frozen: whoever has the slot then says who keeps it from the file, and follows when he is gone", async () => {
  const pair = await makePair("one folder", 200);
  const [home] = pair.homes;
  const first = await pair.start(home);
  await first.ready();
  const second = await pair.start(home);
  await standsBy(second);
  first.signal("SIGSTOP");
  assert.equal((await home.run(["take-over"])).code, 0);
  await second.logged(
    /Another process holds the checkpoint file .* Trying again\. .* end it \(kill -9\)/,
    60_000,
  );
  await first.end("SIGKILL");
  await second.ready();
  await pair.assertEqual(second);
  assert.equal((await second.end("SIGTERM")).code, 0);
  await pair.sql.end();
});

test("take-over by a role that may not end the walsender says what it lacks", async () => {
  const pair = await makePair("two folders", 10);
  const [one, two] = pair.homes;
  const first = await pair.start(one);
  await first.ready();
  const role = `${pair.database.name}_guest`;
  await pair.sql.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD 'guest'`);
  try {
    const holder = await pair.holder();
    const url = withDatabase(pair.database.url, pair.database.name, role, "guest");
    const ended = await two.run(["take-over"], { env: { PG_URL: url } });
    assert.equal(ended.code, 4, ended.stderr);
    assert.match(ended.stderr, /^error PRIVILEGE_MISSING: /m);
    assert.match(ended.stderr, new RegExp(`GRANT pg_signal_backend TO "${role}"`));
    assert.equal(await pair.holder(), holder);
  } finally {
    await pair.sql.unsafe(`DROP ROLE ${role}`);
  }
  assert.equal((await first.end("SIGTERM")).code, 0);
  await pair.sql.end();
});
