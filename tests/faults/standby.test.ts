/**
 * Synchronous replication: a commit waits for a standby that is away. The stream carries it already, but no other session
 * sees it, so a document built now would show the old state for ever.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseLsn } from "../../src/replication/lsn.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { untilCommitsWait } from "./held_commits.ts";
import { pgsyncHome } from "../support/pgsync_process.ts";
import { ownPostgres } from "../support/postgres.ts";
import { assertEqualTree, connect, makeTree, treeSchema } from "./tree.ts";

test("a commit that waits for a standby is not shown too early, and not lost", async () => {
  const server = await ownPostgres();
  const elasticsearch = await useElasticsearch();
  const index = elasticsearch.indexName("standby");
  await makeTree(server.url, 200);
  const home = pgsyncHome({
    schema: treeSchema("postgres", index),
    postgresUrl: server.url,
    searchUrl: elasticsearch.url,
  });
  const run = await home.start(["--daemon", "--bootstrap"]);
  await run.ready();
  const titleOf = async (id: number) => (await elasticsearch.get(index, String(id)))?._source["title"];
  const admin = connect(server.url);
  // Its own commits do not wait.
  await admin`SET synchronous_commit = local`;
  const setStandby = async (sql: string) => {
    await admin.unsafe(sql);
    await admin`SELECT pg_reload_conf()`;
  };
  await setStandby("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
  await untilCommitsWait(server.url, admin);
  const session = connect(server.url);

  let committed = false;
  const commit = session`UPDATE item SET title = 'hidden' WHERE id = 1`.then(() => committed = true);
  // Where this test fails, the server goes while it still waits; the test's own failure is the one to show.
  commit.catch(() => {});
  await eventually(async () => {
    const [row] =
      await admin`SELECT count(*)::int AS waiting FROM pg_stat_activity WHERE wait_event = 'SyncRep'`;
    assert.equal(row?.["waiting"], 1);
  }, { what: "the commit to wait for the standby" });
  const [row] = await admin<{ lsn: string }[]>`SELECT pg_current_wal_flush_lsn()::text AS lsn`;
  // Another change, whose commit does not wait, comes behind it in the stream.
  await admin`UPDATE item SET title = 'behind' WHERE id = 2`;
  await eventually(async () => {
    const { databases: [state] } = await run.status();
    assert.ok(parseLsn(state?.stream.received ?? "") >= parseLsn(row?.lsn ?? ""));
  }, { what: "the stream to carry the commit" });
  assert.equal(committed, false);
  assert.equal(await titleOf(1), "item 1", "not yet visible");

  // A process that starts now is not held up by the missing standby itself, and can be stopped.
  assert.equal((await run.end("SIGTERM")).code, 0);
  const again = await home.start(["--daemon"]);
  await eventually(async () => {
    const { databases: [state] } = await again.status();
    assert.ok(parseLsn(state?.stream.received ?? "") >= parseLsn(row?.lsn ?? ""));
  }, { what: "the stream to carry the commit again" });
  assert.equal(await titleOf(1), "item 1");
  assert.equal(committed, false);

  await setStandby("ALTER SYSTEM RESET synchronous_standby_names");
  await commit;
  await eventually(async () => assert.equal(await titleOf(1), "hidden"), { what: "the change to be shown" });
  await eventually(async () => assert.equal(await titleOf(2), "behind"));
  await again.ready();
  await assertEqualTree(server.url, elasticsearch, index);
  assert.equal((await again.end("SIGTERM")).code, 0);
  await admin.end();
  await session.end();
});
