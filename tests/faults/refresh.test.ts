/** SIGTERM while a materialised view is refreshed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import postgres from "postgres";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { pgsyncHome } from "../support/pgsync_process.ts";
import { usePostgres } from "../support/postgres.ts";

test("SIGTERM during the refresh of a materialised view ends the run in time; the next one goes on", async () => {
  const [server, search] = await Promise.all([usePostgres(), useElasticsearch()]);
  const database = await server.createDatabase();
  const sql = postgres(database.url, { max: 2, onnotice: () => {} });
  // The view takes as long as the row of `pace` says.
  await sql.unsafe(`
    CREATE TABLE pace (seconds float);
    INSERT INTO pace VALUES (0);
    CREATE TABLE book (id int PRIMARY KEY, title text);
    INSERT INTO book SELECT n, 'book ' || n FROM generate_series(1, 50) n;
    CREATE MATERIALIZED VIEW shelf AS
      SELECT id, title FROM book, (SELECT pg_sleep(seconds) FROM pace OFFSET 0) slow WHERE slow IS NOT NULL;`);
  const index = search.indexName("shelf");
  const home = pgsyncHome({
    schema: [{ database: database.name, index, nodes: { table: "shelf", primary_key: ["id"] } }],
    postgresUrl: database.url,
    searchUrl: search.url,
  });
  const refreshing = async () => {
    const found = await sql`
      SELECT FROM pg_stat_activity
      WHERE datname = current_database() AND query LIKE 'REFRESH MATERIALIZED VIEW%' AND state = 'active'`;
    return found.length > 0;
  };
  const titled = async (title: string) => {
    await search.request("POST", `/${index}/_refresh`);
    const { body } = await search.request("GET", `/${index}/_count?q=title:${title}`);
    return (body as { count: number }).count === 50;
  };

  for (const [when, pace] of [["in the middle of a run", 0], ["at its start", 600]] as const) {
    await sql`UPDATE pace SET seconds = ${pace}`;
    const run = await home.start(["--daemon", "--bootstrap", "--view-refresh", "1"]);
    if (pace === 0) {
      await run.ready();
      await sql`UPDATE pace SET seconds = 600`;
    }
    await sql`UPDATE book SET title = ${`t${pace}`}`;
    await eventually(refreshing, { what: `a refresh ${when}` });
    const start = performance.now();
    const { code, stderr } = await run.end("SIGTERM");
    assert.equal(code, 0, stderr);
    assert.ok(
      performance.now() - start < 10_000,
      `it took ${Math.round(performance.now() - start)} ms ${when}`,
    );
    assert.doesNotMatch(stderr, /ERROR/);
    // PostgreSQL is told to give up, too: it would go on for ten minutes, with the view locked.
    await eventually(async () => !await refreshing(), { what: `the refresh to be given up ${when}` });
    await sql`UPDATE pace SET seconds = 0`;
    const next = await home.run([]);
    assert.equal(next.code, 0, next.stderr);
    assert.ok(await titled(`t${pace}`), `the documents are up to date after a stop ${when}`);
  }
  await sql.end();
});
