/** Stop and start: a signal ends the run in good time whatever is the matter, and the next run goes on from there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { type Lsn, parseLsn } from "../../src/replication/lsn.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { type PgsyncHome, pgsyncHome, type PgsyncProcess } from "../support/pgsync_process.ts";
import { usePostgres } from "../support/postgres.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp_proxy.ts";
import { assertGoesOn, loadProgress } from "./load_progress.ts";
import { assertEqualTree, connect, type Connection, makeTree, startWriters, treeSchema } from "./tree.ts";
import { seededRandom } from "../support/random.ts";

/** A tree of its own, with the search engine behind a proxy. */
async function prepare(items = 1_500) {
  const postgres = await usePostgres();
  const elasticsearch = await useElasticsearch();
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("stop");
  await makeTree(database.url, items);
  const proxy = await startTcpProxy(elasticsearch.url);
  const home = pgsyncHome({
    schema: treeSchema(database.name, index),
    postgresUrl: database.url,
    searchUrl: proxy.url,
  });
  const assertEqual = () => assertEqualTree(database.url, elasticsearch, index);
  return { database, index, proxy, home, assertEqual };
}

/** Ends a run by SIGTERM and checks that it ends well and in time. */
async function stopped(run: PgsyncProcess, limitMs = 10_000): Promise<string> {
  const start = performance.now();
  const { code, stderr } = await run.end("SIGTERM");
  const took = performance.now() - start;
  assert.equal(code, 0, stderr);
  assert.ok(took < limitMs, `it took ${Math.round(took)} ms`);
  return stderr;
}

/** Runs until caught up. */
async function catchUp(home: PgsyncHome): Promise<void> {
  const { code, stderr } = await home.run([]);
  assert.equal(code, 0, stderr);
}

async function position(session: Connection): Promise<Lsn> {
  const [row] = await session<{ lsn: string }[]>`SELECT pg_current_wal_insert_lsn()::text AS lsn`;
  return parseLsn(row?.lsn ?? "");
}

test("SIGTERM while changes stream in; started again, it goes on", async () => {
  const { database, home, proxy, assertEqual } = await prepare();
  const writers = startWriters(database.url, seededRandom(1), 2);
  try {
    for (let round = 0; round < 3; round++) {
      const run = await home.start(["--daemon", "--bootstrap"]);
      await run.ready();
      const before = writers.commits;
      await eventually(() => writers.commits > before + 50, { what: "50 transactions" });
      const stderr = await stopped(run);
      assert.match(stderr, /stopped by SIGTERM/);
      assert.doesNotMatch(stderr, /WARN|ERROR/);
      if (round > 0) assert.match(stderr, /from [0-9A-F]+\/[0-9A-F]+/, "it goes on from its own position");
    }
  } finally {
    await writers.stop();
  }
  await catchUp(home);
  await assertEqual();
  await proxy.stop();
});

test("SIGTERM with changes on their way: they are written, the position is stored, and the server is told", async () => {
  const { database, home, proxy, assertEqual } = await prepare();
  const run = await home.start(["--daemon", "--bootstrap"]);
  await run.ready();
  const session = connect(database.url);
  for (let round = 0; round < 3; round++) await session`UPDATE item SET amount = amount + 1`;
  const changed = await position(session);
  // Something behind the changes, for the position to pass them.
  await session`SELECT pg_logical_emit_message(true, 'test', '')`;
  await eventually(async () => {
    const { databases: [state] } = await run.status();
    assert.ok(parseLsn(state?.stream.received ?? "") >= changed);
  }, { interval: 1, what: "the changes to be received" });
  await stopped(run);
  await assertEqual();
  const slot = `pgsync_${database.name}`;
  const [row] = await session<{ confirmed: string }[]>`
    SELECT confirmed_flush_lsn::text AS confirmed FROM pg_replication_slots WHERE slot_name = ${slot}`;
  using checkpoint = Checkpoint.open(home.checkpointFile(slot));
  const stored = checkpoint.position() ?? 0n;
  assert.ok(stored >= changed, "stored");
  assert.equal(parseLsn(row?.confirmed ?? ""), stored, "confirmed");
  await session.end();
  await proxy.stop();
});

test("SIGTERM in the middle of the load: the chunks that are done stay done", async () => {
  const { home, proxy, assertEqual } = await prepare(4_000);
  const env = { PGSYNC_LOAD_CHUNK_ROWS: "100", ELASTICSEARCH_CHUNK_SIZE: "20", NUM_WORKERS: "1" };
  const first = await home.start(["--daemon", "--bootstrap"], { env });
  const load = async (run: PgsyncProcess) => {
    const found = (await run.status()).databases[0]?.indices[0]?.load;
    assert.ok(found !== undefined && found.chunks > 0, "no load yet");
    return found;
  };
  const { chunks, chunksDone } = await eventually(async () => {
    const now = await load(first);
    assert.ok(now.chunksDone > 0);
    return now;
  }, { interval: 5, what: "a chunk to be done" });
  assert.ok(chunks >= 10);
  assert.ok(chunksDone < chunks, "the load is too fast for this test");
  await stopped(first);
  const second = await home.start(["--daemon"], { env });
  const atStart = await eventually(() => load(second), { interval: 5, what: "the load to be known" });
  assert.ok(atStart.chunksDone >= chunksDone, `${atStart.chunksDone} of ${chunksDone} chunks are still done`);
  assert.equal(atStart.chunks, chunks, "the plan is kept");
  await second.ready();
  await stopped(second);
  await assertEqual();
  await proxy.stop();
});

for (
  const [what, fail, mend] of [
    ["refuses connections", "shut", "open"],
    ["takes requests and never answers", "swallow", "answer"],
  ] as const
) {
  test(`SIGTERM while the search engine ${what}: the position stays, and nothing is lost`, async () => {
    const { database, home, proxy, assertEqual } = await prepare();
    const run = await home.start(["--daemon", "--bootstrap"]);
    await run.ready();
    const session = connect(database.url);
    if (fail === "shut") await proxy.shut();
    else proxy.swallowAnswers(true);
    const before = await position(session);
    await session`UPDATE item SET amount = amount + 1 WHERE id < 100`;
    const changed = await position(session);
    await session`UPDATE item SET title = 'changed' WHERE id = 1`;
    await eventually(async () => {
      const { databases: [state] } = await run.status();
      assert.ok(parseLsn(state?.stream.received ?? "") >= changed);
    }, { what: "the changes to be received" });
    const stderr = await stopped(run);
    assert.match(stderr, /could not be finished in \d+ s; they come again/);
    if (mend === "open") await proxy.open();
    else proxy.swallowAnswers(false);
    const again = await home.start(["--daemon"]);
    const [, from = ""] = await again.logged(/following slot .* from (\S+)/);
    assert.ok(parseLsn(from) <= before, `${from} lies behind changes that no document shows`);
    await again.ready();
    await stopped(again);
    await assertEqual();
    await session.end();
    await proxy.stop();
  });
}

for (
  const [what, fail] of [
    ["has gone away", (proxy: TcpProxy) => proxy.shut()],
    ["answers no more", (proxy: TcpProxy) => Promise.resolve(proxy.swallowAnswers(true))],
  ] as const
) {
  test(`SIGTERM in the middle of the load, when the search engine ${what}: what is done stays done`, async () => {
    const { home, proxy, database, index, assertEqual } = await prepare(3_000);
    const env = { PGSYNC_LOAD_CHUNK_ROWS: "100", ELASTICSEARCH_CHUNK_SIZE: "20", NUM_WORKERS: "1" };
    const run = await home.start(["--daemon", "--bootstrap"], { env });
    await eventually(async () => {
      const [state] = (await run.status()).databases;
      assert.ok((state?.indices[0]?.load.chunksDone ?? 0) > 0);
    }, { interval: 5, what: "a chunk to be done" });
    await fail(proxy);
    await stopped(run);
    const file = home.checkpointFile(`pgsync_${database.name}`);
    const before = loadProgress(file, index);
    assert.ok(before.done.size > 0 && before.done.size < before.planned);
    proxy.swallowAnswers(false);
    await proxy.shut();
    await proxy.open();
    await catchUp(home);
    assertGoesOn(before, loadProgress(file, index));
    await assertEqual();
    await proxy.stop();
  });
}

test("SIGTERM at the start, when the search engine takes connections and never answers", async () => {
  const { home, proxy } = await prepare(10);
  proxy.swallowAnswers(true);
  const run = await home.start(["--daemon", "--bootstrap"]);
  await eventually(() => proxy.connections > 0, { what: "it to connect" });
  await stopped(run);
  await proxy.stop();
});

test("SIGTERM while PostgreSQL does not answer, in the stream and at the start", async () => {
  const { database, index, assertEqual } = await prepare();
  const elasticsearch = await useElasticsearch();
  const network = await startTcpProxy(database.url);
  const throughProxy = new URL(database.url);
  throughProxy.port = new URL(network.url).port;
  const home = pgsyncHome({
    schema: treeSchema(database.name, index),
    postgresUrl: throughProxy.href,
    searchUrl: elasticsearch.url,
  });
  const run = await home.start(["--daemon", "--bootstrap"]);
  await run.ready();
  network.swallowAnswers(true);
  await stopped(run);
  const starting = await home.start(["--daemon"]);
  await starting.logged(/status at/);
  await eventually(() => network.connections > 0, { what: "it to connect" });
  await stopped(starting);
  network.swallowAnswers(false);
  network.cut();
  const again = await home.start(["--daemon"]);
  await again.ready();
  await stopped(again);
  await assertEqual();
  await network.stop();
});

test("SIGTERM while somebody has locked a table that is read", async () => {
  const { database, home, proxy, assertEqual } = await prepare();
  const run = await home.start(["--daemon", "--bootstrap"]);
  await run.ready();
  const session = connect(database.url);
  await session.begin(async (transaction) => {
    await transaction`LOCK TABLE owner IN ACCESS EXCLUSIVE MODE`;
    const other = connect(database.url);
    await other`UPDATE item SET amount = amount + 1 WHERE id < 100`;
    await eventually(async () => {
      const [row] = await other`SELECT count(*)::int AS waiting FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'`;
      assert.ok(Number(row?.["waiting"]) > 0);
    }, { what: "a statement of ours to wait for the lock" });
    await other.end();
    assert.match(await stopped(run), /could not be finished/);
  });
  await session.end();
  await catchUp(home);
  await assertEqual();
  await proxy.stop();
});

test("without --daemon it loads, catches up with what was changed meanwhile, and exits 0", async () => {
  const { database, home, proxy, assertEqual } = await prepare();
  const writers = startWriters(database.url, seededRandom(2), 1);
  const { code, stdout, stderr } = await home.run(["--bootstrap"]);
  assert.equal(code, 0, stderr);
  assert.equal(stdout, "");
  assert.match(stderr, /caught up, done$/);
  await writers.stop();
  await catchUp(home);
  await assertEqual();
  // With nothing to do it is quick, and does not load again.
  const idle = await home.run([]);
  assert.equal(idle.code, 0);
  assert.doesNotMatch(idle.stderr, /load of/);
  await proxy.stop();
});
