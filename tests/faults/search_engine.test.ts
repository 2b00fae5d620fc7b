/** The search engine's own process is down, frozen, restarted: the run waits, WAL keeps the changes, and it catches up by itself. */
import assert from "node:assert/strict";
import process from "node:process";
import { before, describe, test } from "node:test";
import type { ElasticsearchServer } from "../../scripts/servers/elasticsearch.ts";
import { client, ownElasticsearch, useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { pgsyncHome, type PgsyncProcess } from "../support/pgsync_process.ts";
import { ownPostgres, usePostgres } from "../support/postgres.ts";
import { seededRandom } from "../support/random.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";
import { notReady, settled } from "./settled.ts";
import { assertEqualTree, connect, makeTree, startWriters, treeSchema } from "./tree.ts";

const ITEMS = 500;
const COMMITS = 40;

describe("the search engine", () => {
  let engine: ElasticsearchServer;
  before(async () => {
    engine = await ownElasticsearch();
  });

  test("is frozen, shut down, and killed, while rows change", async () => {
    const postgres = await usePostgres();
    const database = await postgres.createDatabase();
    await makeTree(database.url, ITEMS);
    const home = pgsyncHome({
      schema: treeSchema(database.name, "tree"),
      postgresUrl: database.url,
      searchUrl: engine.url,
    });
    const run = await home.start(["--daemon", "--bootstrap"], { env: { ELASTICSEARCH_TIMEOUT: "2" } });
    await run.ready();
    const outages: readonly [string, RegExp, () => unknown, () => unknown][] = [
      [
        "frozen",
        /does not take documents.*no answer within 2 s/,
        () => process.kill(engine.pid, "SIGSTOP"),
        () => process.kill(engine.pid, "SIGCONT"),
      ],
      ["down", /does not take documents.*did not answer/, () => engine.halt(), () => engine.start()],
      ["killed", /does not take documents.*did not answer/, () => engine.kill(), () => engine.start()],
    ];
    for (const [place, [what, reason, fail, mend]] of outages.entries()) {
      const writers = startWriters(database.url, seededRandom(200 + place), 2);
      try {
        await eventually(() => writers.commits > COMMITS, { what: "transactions" });
        await fail();
        const before = writers.commits;
        await notReady(run, reason);
        await eventually(() => writers.commits > before + COMMITS, {
          what: `transactions while it is ${what}`,
        });
        await mend();
      } finally {
        await writers.stop();
      }
      await settled(run, database.url);
      await assertEqualTree(database.url, client(engine.url), "tree");
    }
    const { code, stderr } = await run.end("SIGTERM");
    assert.equal(code, 0);
    assert.match(stderr, /WARN.*did not answer.*Trying again/);
    assert.match(stderr, /INFO.*the search engine takes documents again, after \d+ s/);
  });

  test("is away for so long that PostgreSQL will give the slot up: the warning says when", async () => {
    const postgres = await ownPostgres({ settings: { max_slot_wal_keep_size: "64MB" } });
    const proxy = await startTcpProxy(engine.url);
    await makeTree(postgres.url, ITEMS);
    const home = pgsyncHome({
      schema: treeSchema("postgres", "wal"),
      postgresUrl: postgres.url,
      searchUrl: proxy.url,
    });
    const run = await home.start(["--daemon", "--bootstrap"]);
    await run.ready();
    const warnings = async () => (await run.status()).databases[0]?.warnings.join("\n") ?? "";
    assert.equal(await warnings(), "");
    await proxy.shut();
    const sql = connect(postgres.url);
    await sql`UPDATE item SET amount = amount + 1`;
    await eventually(async () => {
      const [row] = await sql<{ safe: number }[]>`
        SELECT safe_wal_size::float8 AS safe FROM pg_replication_slots WHERE database = current_database()`;
      // As fast as it can, but not so far that there is nothing to warn of any more.
      if ((row?.safe ?? 0) > 20e6) {
        await sql`SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))`;
      }
      assert.match(
        await warnings(),
        /^The replication slot "pgsync_postgres" keeps \d\d MB of WAL; (at \S+ [kM]B\/s PostgreSQL will give it up in|PostgreSQL gives it up when)/,
      );
    }, { what: "a warning", timeout: 60_000 });
    assert.match(run.stderr(), /WARN.*keeps \d\d MB of WAL; .*max_slot_wal_keep_size/);
    const metrics = await metricsOf(run);
    assert.ok((metrics.get("pgsync_slot_retained_wal_bytes") ?? 0) > 30e6, JSON.stringify([...metrics]));
    assert.ok((metrics.get("pgsync_slot_safe_wal_bytes") ?? 0) > 0);
    await proxy.open();
    await settled(run, postgres.url);
    await assertEqualTree(postgres.url, client(engine.url), "wal");
    await eventually(async () => {
      // PostgreSQL moves what a slot keeps when it has noted which transactions run, as a checkpoint does.
      await sql`CHECKPOINT`;
      assert.equal(await warnings(), "");
    }, { what: "the warning to be over", interval: 500 });
    assert.equal((await run.end("SIGTERM")).code, 0);
    await sql.end();
    await proxy.stop();
  });
});

test("a run that is started while the search engine is away waits for it; without --daemon it ends with exit 3", async () => {
  const postgres = await usePostgres();
  const elasticsearch = await useElasticsearch();
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("start");
  await makeTree(database.url, ITEMS);
  const proxy = await startTcpProxy(elasticsearch.url);
  const home = pgsyncHome({
    schema: treeSchema(database.name, index),
    postgresUrl: database.url,
    searchUrl: proxy.url,
  });
  const first = await home.start(["--daemon", "--bootstrap"]);
  await first.ready();
  await proxy.shut();
  const sql = connect(database.url);
  await sql`UPDATE item SET amount = amount + 1 WHERE id < 100`;
  await first.end("SIGKILL");

  const once = await home.run([]);
  assert.equal(once.code, 3, once.stderr);
  const stopped = await home.start(["--daemon", "--bootstrap"]);
  await notReady(stopped, /does not take documents.*did not answer/);
  assert.equal((await stopped.end("SIGTERM")).code, 0, "it can be stopped while it waits");

  const run = await home.start(["--daemon"]);
  await notReady(run, /does not take documents.*did not answer/);
  assert.match(run.stderr(), /WARN.*did not answer.*Trying again.*ELASTICSEARCH_URL/);
  await sql`DELETE FROM item WHERE id BETWEEN 50 AND 60`;
  await proxy.open();
  await settled(run, database.url);
  await assertEqualTree(database.url, elasticsearch, index);

  await proxy.shut();
  await sql`ALTER TABLE item ALTER COLUMN amount TYPE bigint`;
  await run.logged(/WARN.*Tables have changed: the documents of .* are mapped and compared anew/);
  await sql`UPDATE item SET amount = amount + 1 WHERE id < 100`;
  const retries = async () => (await metricsOf(run)).get("pgsync_retries_total") ?? 0;
  const before = await retries();
  await eventually(async () => assert.ok(await retries() > before + 3), { what: "more attempts" });
  await notReady(run, /does not take documents.*did not answer/);
  await proxy.open();
  await settled(run, database.url);
  await assertEqualTree(database.url, elasticsearch, index);
  assert.equal((await run.end("SIGTERM")).code, 0);
  await sql.end();
  await proxy.stop();
});

/** The figures of `/metrics` by their names, whatever their labels. */
async function metricsOf(run: PgsyncProcess): Promise<Map<string, number>> {
  const [, url = ""] = await run.logged(/status at (http:\S+)/);
  const text = await (await fetch(new URL("/metrics", url))).text();
  return new Map(
    [...text.matchAll(/^(\w+)(?:\{.*\})? (\S+)$/gm)].map(([, name = "", value]) => [name, Number(value)]),
  );
}
