/** A gateway that fails for longer than documents may wait to be sent (30 s): they are built again, from what is in the tables by then. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { useElasticsearch } from "../../support/elasticsearch.ts";
import { eventually } from "../../support/eventually.ts";
import { pgsyncHome } from "../../support/pgsync_process.ts";
import { usePostgres } from "../../support/postgres.ts";
import { seededRandom } from "../../support/random.ts";
import { type SearchFault, startSearchProxy } from "../../support/search_proxy.ts";
import { notReady, settled } from "../settled.ts";
import { assertEqualTree, makeTree, startWriters, treeSchema } from "../tree.ts";

const ITEMS = 2_000;
/** Of each failure. */
const OUTAGE_MS = 70_000;

const FAILURES: readonly [SearchFault, RegExp][] = [
  [{ kind: "status", status: 429 }, /HTTP 429/],
  [{ kind: "status", status: 502 }, /HTTP 502/],
  [{ kind: "status", status: 503 }, /HTTP 503/],
  // A copy of what has become too old may still reach the engine, after its successor.
  [{ kind: "late-answer" }, /no answer within 3 s/],
  [{ kind: "half-lost" }, /did not answer/],
];

test("minutes of 429, 502, 503, late answers and cut connections while rows change", async () => {
  const postgres = await usePostgres();
  const elasticsearch = await useElasticsearch();
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("minutes");
  await makeTree(database.url, ITEMS);
  const proxy = await startSearchProxy(elasticsearch.url);
  const home = pgsyncHome({
    schema: treeSchema(database.name, index),
    postgresUrl: database.url,
    searchUrl: proxy.url,
  });
  const run = await home.start(["--daemon", "--bootstrap"], { env: { ELASTICSEARCH_TIMEOUT: "3" } });
  await run.ready();
  for (const [place, [fault, reason]] of FAILURES.entries()) {
    const writers = startWriters(database.url, seededRandom(300 + place), 2);
    try {
      proxy.fail(fault, "bulk");
      const since = performance.now();
      await notReady(run, reason);
      await eventually(() => performance.now() - since > OUTAGE_MS, {
        what: "time to pass",
        timeout: 2 * OUTAGE_MS,
      });
      await notReady(run, reason);
      proxy.mend();
    } finally {
      await writers.stop();
    }
    await settled(run, database.url, 120_000);
    await assertEqualTree(database.url, elasticsearch, index);
  }
  const { code, stderr } = await run.end("SIGTERM");
  assert.equal(code, 0);
  assert.ok(stderr.split("\n").length < 100, "minutes of an outage do not fill the log");
  await proxy.stop();
});
