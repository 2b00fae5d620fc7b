/** An engine that takes up to a minute for an answer, and longer, with the default timeout (60 s). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { STALE_AFTER_MS } from "../../../src/search/bulk_writer.ts";
import { useElasticsearch } from "../../support/elasticsearch.ts";
import { eventually } from "../../support/eventually.ts";
import { pgsyncHome } from "../../support/pgsync_process.ts";
import { usePostgres } from "../../support/postgres.ts";
import { seededRandom } from "../../support/random.ts";
import { startSearchProxy } from "../../support/search_proxy.ts";
import { notReady, settled } from "../settled.ts";
import { assertEqualTree, makeTree, startWriters, treeSchema } from "../tree.ts";

const ITEMS = 2_000;
const TIMEOUT_MS = 60_000;

test("answers after 45 s count; those that take longer than 60 s are given up, and the documents built again", async () => {
  const postgres = await usePostgres();
  const elasticsearch = await useElasticsearch();
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("late");
  await makeTree(database.url, ITEMS);
  const proxy = await startSearchProxy(elasticsearch.url);
  const home = pgsyncHome({
    schema: treeSchema(database.name, index),
    postgresUrl: database.url,
    searchUrl: proxy.url,
  });
  const run = await home.start(["--daemon", "--bootstrap"]);
  await run.ready();
  const answersAfter = async (ms: number, seed: number) => {
    const writers = startWriters(database.url, seededRandom(seed), 2);
    try {
      proxy.fail({ kind: "late-answer" }, "bulk");
      await eventually(() => proxy.carriedOut > 0, { what: "a request that waits for its answer" });
      const since = performance.now();
      await eventually(() => performance.now() - since > ms, { what: "time to pass", timeout: 2 * ms });
    } finally {
      await writers.stop();
    }
  };

  // The documents are too old to be sent by then, but not to have been taken.
  assert.ok(45_000 > STALE_AFTER_MS);
  await answersAfter(45_000, 400);
  await run.ready();
  proxy.mend();
  await settled(run, database.url, 120_000);
  await assertEqualTree(database.url, elasticsearch, index);
  assert.doesNotMatch(run.stderr(), /Trying again/);

  await answersAfter(TIMEOUT_MS + 10_000, 401);
  await notReady(run, /does not take documents.*no answer within 60 s/);
  proxy.mend();
  await settled(run, database.url, 120_000);
  await assertEqualTree(database.url, elasticsearch, index);
  assert.match(run.stderr(), /WARN.*no answer within 60 s.*Trying again/);
  assert.equal((await run.end("SIGTERM")).code, 0);
  await proxy.stop();
});
