/** Servers that go away and come back: the process lives, says what is the matter, and goes on by itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { pgsyncHome } from "../support/pgsync_process.ts";
import { ownPostgres, usePostgres } from "../support/postgres.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";
import { notReady, settled } from "./settled.ts";
import { assertEqualTree, connect, makeTree, startWriters, treeSchema } from "./tree.ts";
import { seededRandom } from "../support/random.ts";

const ITEMS = 1_000;

test("the search engine goes away while rows change, and comes back", async () => {
  const postgres = await usePostgres();
  const elasticsearch = await useElasticsearch();
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("outage");
  await makeTree(database.url, ITEMS);
  const proxy = await startTcpProxy(elasticsearch.url);
  const home = pgsyncHome({
    schema: treeSchema(database.name, index),
    postgresUrl: database.url,
    searchUrl: proxy.url,
  });
  const run = await home.start(["--daemon", "--bootstrap"]);
  await run.ready();
  const writers = startWriters(database.url, seededRandom(3), 2);
  try {
    await proxy.shut();
    await notReady(run, /search engine does not take documents.*did not answer/);
    const before = writers.commits;
    await eventually(() => writers.commits > before + 100, { what: "100 transactions" });
    await notReady(run, /search engine/);
    await proxy.open();
    await run.ready();
    // Connections cut in the middle of requests: whether those were carried out, nobody knows.
    for (let cut = 0; cut < 10; cut++) {
      const commits = writers.commits;
      await eventually(() => writers.commits > commits + 5, { what: "5 transactions" });
      proxy.cut();
    }
  } finally {
    await writers.stop();
  }
  await settled(run, database.url);
  await assertEqualTree(database.url, elasticsearch, index);
  assert.match(run.stderr(), /WARN.*did not answer.*Trying again/, "the log tells of it");
  assert.equal((await run.end("SIGTERM")).code, 0);
  await proxy.stop();
});

test("PostgreSQL restarts, cleanly and not, while rows change: it is not held up, and the run goes on", async () => {
  const server = await ownPostgres();
  const elasticsearch = await useElasticsearch();
  const index = elasticsearch.indexName("restart");
  await makeTree(server.url, ITEMS);
  const home = pgsyncHome({
    schema: treeSchema("postgres", index),
    postgresUrl: server.url,
    searchUrl: elasticsearch.url,
  });
  const run = await home.start(["--daemon", "--bootstrap"]);
  await run.ready();
  for (const mode of ["fast", "immediate", "fast"] as const) {
    const session = connect(server.url);
    // Much to build, so that batches are under way when the server goes down.
    for (let round = 0; round < 5; round++) await session`UPDATE item SET amount = amount + 1`;
    await session.end();
    await halts(server, mode);
    await notReady(run, /replication stream of database .* is not connected/);
    await server.start();
    await settled(run, server.url);
    await assertEqualTree(server.url, elasticsearch, index);
  }
  assert.equal((await run.end("SIGTERM")).code, 0);
});

test("PostgreSQL shuts down while the search engine is away: a run that cannot go on does not hold it up", async () => {
  const server = await ownPostgres();
  const elasticsearch = await useElasticsearch();
  const index = elasticsearch.indexName("restart");
  await makeTree(server.url, ITEMS);
  const proxy = await startTcpProxy(elasticsearch.url);
  const home = pgsyncHome({
    schema: treeSchema("postgres", index),
    postgresUrl: server.url,
    searchUrl: proxy.url,
  });
  const run = await home.start(["--daemon", "--bootstrap"]);
  await run.ready();
  await proxy.shut();
  const session = connect(server.url);
  for (let round = 0; round < 5; round++) await session`UPDATE item SET amount = amount + 1`;
  await session.end();
  await notReady(run, /search engine/);
  await halts(server, "fast");
  await proxy.open();
  await server.start();
  await settled(run, server.url);
  await assertEqualTree(server.url, elasticsearch, index);
  assert.equal((await run.end("SIGTERM")).code, 0);
  await proxy.stop();
});

/** Stops the server and fails where that takes longer than an operator would wait (`pg_ctl stop -t 20`). */
async function halts(
  server: Awaited<ReturnType<typeof ownPostgres>>,
  mode: "fast" | "immediate",
): Promise<void> {
  const start = performance.now();
  // The helper kills after 10 s what does not end, and PostgreSQL then says nothing of a shutdown.
  await server.halt(mode);
  const took = performance.now() - start;
  assert.ok(took < 9_000, `a ${mode} shutdown took ${Math.round(took)} ms`);
  if (mode === "fast") assert.match(server.log(), /database system is shut down\s*$/);
}
