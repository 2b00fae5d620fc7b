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
/** What is deleted the engine remembers for a minute (index.gc_deletes): a request that arrives later brings it back. */
const LATEST_REQUEST_MS = 50_000;

const FAILURES: readonly [SearchFault, RegExp][] = [
  [{ kind: "status", status: 429 }, /HTTP 429/],
  [{ kind: "status", status: 502 }, /HTTP 502/],
  [{ kind: "status", status: 503 }, /HTTP 503/],
  [{ kind: "late-answer" }, /no answer within 3 s/],
  // What has become too old reaches the engine after its successor.
  [{ kind: "late-request" }, /no answer within 3 s/],
  [{ kind: "half-lost" }, /did not answer/],
];

test("minutes of 429, 502, 503, late answers, late requests and cut connections while rows change", async () => {
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
  const began = performance.now();
  for (const [place, [fault, reason]] of FAILURES.entries()) {
    const writers = startWriters(database.url, seededRandom(300 + place), 2);
    const outage = fault.kind === "late-request" ? LATEST_REQUEST_MS : OUTAGE_MS;
    try {
      proxy.fail(fault, "bulk");
      const since = performance.now();
      await notReady(run, reason);
      await eventually(() => performance.now() - since > outage, {
        what: "time to pass",
        timeout: 2 * OUTAGE_MS,
      });
      await notReady(run, reason);
      proxy.mend();
    } finally {
      await writers.stop();
    }
    await settled(run, database.url, 120_000);
    await eventually(() => proxy.keptBack === 0, { what: "the last late request" });
    await assertEqualTree(database.url, elasticsearch, index);
  }
  const { code, stderr } = await run.end("SIGTERM");
  assert.equal(code, 0);
  for (const kind of [/WARN.*did not answer.*Trying again/, /WARN.*cannot .* for now .*Trying again/]) {
    const lines = stderr.split("\n").filter((line) => kind.test(line));
    const minutes = Math.ceil((performance.now() - began) / 60_000);
    assert.ok(lines.length > 1 && lines.length <= minutes + 1, `${lines.length} lines in ${minutes} minutes`);
  }
  await proxy.stop();
});
