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
        const since = performance.now();
        // Its end is worth a word after a second.
        await eventually(() => writers.commits > before + COMMITS && performance.now() - since > 1_000, {
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
    let run = await home.start(["--daemon", "--bootstrap"]);
    await run.ready();
    const warnings = async (of: PgsyncProcess) => (await of.status()).databases[0]?.warnings.join("\n") ?? "";
    assert.equal(await warnings(run), "");
    await proxy.shut();
    const sql = connect(postgres.url);
    await sql`UPDATE item SET amount = amount + 1`;
    /** Writes, but not so far that there is nothing to warn of any more. @returns whether most of the budget is used */
    const write = async () => {
      const [row] = await sql<{ safe: number }[]>`
        SELECT safe_wal_size::float8 AS safe FROM pg_replication_slots WHERE database = current_database()`;
      const isMost = (row?.safe ?? 0) <= 20e6;
      if (!isMost) await sql`SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))`;
      return isMost;
    };
    await eventually(async () => {
      await write();
      assert.match(
        await warnings(run),
        /^The replication slot "pgsync_postgres" keeps \d\d MB of WAL; (at \S+ [kM]B\/s PostgreSQL will give it up in|PostgreSQL gives it up when)/,
      );
    }, { what: "a warning", timeout: 60_000 });
    assert.match(run.stderr(), /WARN.*keeps \d\d MB of WAL; .*max_slot_wal_keep_size/);
    assert.ok(await metric(run, "pgsync_slot_retained_wal_bytes") > 30e6);
    assert.ok(await metric(run, "pgsync_slot_safe_wal_bytes") > 0);

    // Tables are mapped anew, for which the engine is waited for: the slot keeps more and more all the same.
    await sql`ALTER TABLE item ALTER COLUMN amount TYPE bigint`;
    await run.logged(/WARN.*Tables have changed: the documents of .* are mapped and compared anew/);
    const kept = await metric(run, "pgsync_slot_retained_wal_bytes");
    await sql`SELECT pg_logical_emit_message(false, 'test', repeat('x', 2000000))`;
    await eventually(async () => {
      assert.ok(await metric(run, "pgsync_slot_retained_wal_bytes") > kept + 1e6);
      assert.match(await warnings(run), /keeps \d\d MB of WAL/);
    }, { what: "what the slot keeps to be looked at" });
    assert.equal((await run.end("SIGKILL")).code, null);

    // So it is where a run waits for the engine before it has begun. How fast the slot's WAL grows nobody knows then.
    await eventually(write, { what: "most of the budget to be used" });
    run = await home.start(["--daemon"]);
    await eventually(async () => {
      assert.match(await warnings(run), /keeps \d\d MB of WAL; .*max_slot_wal_keep_size/);
      assert.ok(await metric(run, "pgsync_slot_retained_wal_bytes") > kept + 1e6);
    }, { what: "the warning of a run that has not begun" });
    await notReady(run, /does not take documents.*did not answer/);
    await proxy.open();
    await settled(run, postgres.url);
    await assertEqualTree(postgres.url, client(engine.url), "wal");
    await eventually(async () => {
      // PostgreSQL moves what a slot keeps when it has noted which transactions run, as a checkpoint does.
      await sql`CHECKPOINT`;
      assert.equal(await warnings(run), "");
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
  const retries = () => metric(run, "pgsync_retries_total", 'of="search"');
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

/** A figure of `/metrics`: the sum of those whose labels contain this. */
async function metric(run: PgsyncProcess, name: string, label = ""): Promise<number> {
  const [, url = ""] = await run.logged(/status at (http:\S+)/);
  const text = await (await fetch(new URL("/metrics", url))).text();
  const found = [...text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)].filter(([, of, labels = ""]) =>
    of === name && labels.includes(label)
  );
  return found.reduce((sum, [, , , value]) => sum + Number(value), 0);
}
