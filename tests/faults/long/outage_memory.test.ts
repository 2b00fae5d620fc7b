/** Half a million rows change while the search engine is away: memory stays bounded, WAL keeps the changes, and none is lost. */
import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { memoryOf } from "../../../scripts/bench/measure/usage.ts";
import { build } from "../../../scripts/build.ts";
import { removeFolder, temporaryFolder } from "../../../scripts/servers/process.ts";
import { useElasticsearch } from "../../support/elasticsearch.ts";
import { eventually } from "../../support/eventually.ts";
import { pgsyncHome } from "../../support/pgsync_process.ts";
import { ownPostgres } from "../../support/postgres.ts";
import { startTcpProxy } from "../../support/tcp_proxy.ts";
import { notReady, settled } from "../settled.ts";
import { assertEqualTree, connect, makeTree, treeSchema } from "../tree.ts";

/** With a part and a note to nearly each: 266,000 rows, each of which is changed twice. */
const ITEMS = 60_000;
const LEAST_ROWS = 500_000;
/** Rows of a transaction. */
const STEP = 5_000;
/** Documents are too old to be sent after 30 s, and built again. */
const LEAST_OUTAGE_MS = 75_000;
/** In bytes, of the executable while the search engine is away. */
const MOST_RESIDENT = 200e6;
/**
 * While it catches up, with PostgreSQL and Elasticsearch on all cores. What the program holds is bounded by its budget; but JavaScriptCore collects
 * in threads of their own, which wait for a core while garbage goes on growing: 204 to 240 MB were measured, with
 * a heap of 40 MB after each collection.
 */
const MOST_RESIDENT_AFTER = 300e6;

const folder = temporaryFolder("outage");
after(() => removeFolder(folder));

test("memory while the search engine is away", { skip: process.platform !== "linux" }, async () => {
  const [postgres, elasticsearch, executable] = await Promise.all([
    ownPostgres(),
    useElasticsearch(),
    build({ outfile: join(folder, "pgsync") }),
  ]);
  const index = elasticsearch.indexName("outage");
  await makeTree(postgres.url, ITEMS);
  const proxy = await startTcpProxy(elasticsearch.url);
  const home = pgsyncHome({
    schema: treeSchema("postgres", index),
    postgresUrl: postgres.url,
    searchUrl: proxy.url,
    executable,
  });
  const loaded = await home.run(["--bootstrap"]);
  assert.equal(loaded.code, 0, loaded.stderr);
  // The most that it ever had is then that of the outage and of what comes after it.
  const run = await home.start(["--daemon"], { env: { ELASTICSEARCH_TIMEOUT: "5" } });
  await run.ready();
  const peaks = { idle: peak(), refused: NaN, silent: NaN, caughtUp: NaN };

  const sql = connect(postgres.url);
  let rows = 0;
  const changeAll = async (round: number) => {
    for (
      const [table, change] of [["item", "amount = amount + 1"], ["part", `name = 'p${round} ' || id`], [
        "note",
        `body = 'n${round} ' || id`,
      ]]
    ) {
      const [most] = await sql<{ id: number }[]>`SELECT max(id) AS id FROM ${sql(table ?? "")}`;
      for (let from = 0; from <= (most?.id ?? 0); from += STEP) {
        const { count } = await sql.unsafe(
          `UPDATE ${table} SET ${change} WHERE id > ${from} AND id <= ${from + STEP}`,
        );
        rows += count;
      }
    }
  };
  const since = performance.now();
  await proxy.shut();
  await changeAll(1);
  await notReady(run, /does not take documents.*did not answer/);
  await eventually(() => performance.now() - since > LEAST_OUTAGE_MS / 2, {
    what: "time to pass",
    timeout: LEAST_OUTAGE_MS,
  });
  peaks.refused = peak();
  proxy.swallowAnswers(true);
  await proxy.open();
  await changeAll(2);
  await eventually(() => performance.now() - since > LEAST_OUTAGE_MS, {
    what: "time to pass",
    timeout: LEAST_OUTAGE_MS,
  });
  await notReady(run, /does not take documents.*no answer within 5 s/);
  peaks.silent = peak();
  assert.ok(peaks.silent <= MOST_RESIDENT, JSON.stringify(peaks));
  assert.ok(rows >= LEAST_ROWS, `${rows} rows`);
  const { databases: [state] } = await run.status();
  assert.ok((state?.stream.retainedBytes ?? 0) > 10e6, "WAL keeps the changes");

  proxy.swallowAnswers(false);
  proxy.cut();
  await settled(run, postgres.url, 600_000);
  peaks.caughtUp = peak();
  assert.equal(await assertEqualTree(postgres.url, elasticsearch, index), ITEMS);
  assert.ok(peaks.caughtUp <= MOST_RESIDENT_AFTER, JSON.stringify(peaks));
  const { memory } = await run.status();
  assert.ok(memory.mostBytes <= memory.limitBytes, JSON.stringify(memory));
  console.log(`resident at most, in bytes: ${JSON.stringify(peaks)}; ${rows} rows`);
  assert.equal((await run.end("SIGTERM")).code, 0);
  await sql.end();
  await proxy.stop();

  function peak(): number {
    return memoryOf(run.pid)?.peak ?? NaN;
  }
});
