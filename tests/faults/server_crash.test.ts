/**
 * A crash of the PostgreSQL server sets its WAL back to what was on disk. Documents' versions must not lie beyond that, or every later
 * write would be taken for an older one. The window (WAL that is inserted but not yet flushed) is made wide here, by settings and by a
 * transaction that writes a great deal.
 */
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { after, test } from "node:test";
import postgres from "postgres";
import { temporaryFolder } from "../../scripts/servers/process.ts";
import { parseSchema } from "../../src/schema/parse.ts";
import { SEARCH_DEFAULTS } from "../../src/search/options.ts";
import { RUN_DEFAULTS, type RunOptions } from "../../src/sync/options.ts";
import { Synchronizer } from "../../src/sync/synchronizer.ts";
import { optionsOf } from "../postgres/options.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { ownPostgres } from "../support/postgres.ts";

const ROWS = 100;
const WIDE_WINDOW = { wal_writer_delay: "10s", wal_writer_flush_after: "0", wal_buffers: "256MB" };
/** Far more than is written to bring the run and its updates about. */
const LOST_AT_LEAST = 1024 * 1024;

for (const takenOver of [false, true]) {
  const who = takenOver ? "a process that starts after the crash" : "the process that saw the crash";
  test(`after a crash of PostgreSQL, ${who} writes on`, async () => {
    const server = await ownPostgres({ settings: WIDE_WINDOW });
    const search = await useElasticsearch();
    const folder = temporaryFolder("pgsync-crash-");
    after(() => rm(folder, { recursive: true, force: true }));
    const index = search.indexName("crash");
    const options: RunOptions = {
      ...RUN_DEFAULTS,
      schema: parseSchema(
        `{ database: postgres, index: ${index}, nodes: { table: item } }`,
        "schema.yaml",
        {},
      ),
      postgres: optionsOf(server.url),
      search: { ...SEARCH_DEFAULTS, urls: [search.url] },
      checkpointFolder: folder,
      bootstrap: true,
    };
    const states = async () => [...(await search.all(index)).values()].map((document) => document["state"]);
    const shown = (state: string) =>
      eventually(async () => assert.deepEqual(await states(), Array.from({ length: ROWS }, () => state)));

    let sql = postgres(server.url, { max: 3, onnotice: () => {} });
    await sql`CREATE TABLE item (id int PRIMARY KEY, state text)`;
    await sql`CREATE TABLE noise (text text)`;
    await sql`INSERT INTO item SELECT i, 'loaded' FROM generate_series(1, ${ROWS}) i`;
    let run = start(options);
    await eventually(() => run.synchronizer.status().ready);

    const noise = sql`INSERT INTO noise SELECT repeat(md5(i::text), 30) FROM generate_series(1, 3000000) i`
      .then(
        () => assert.fail("the server was to crash before"),
        (error: unknown) => assert.ok(error instanceof Error),
      );
    await eventually(async () => {
      const [row] = await sql`SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn() AS bytes`;
      return Number(row?.["bytes"]) > LOST_AT_LEAST;
    });
    await sql`UPDATE item SET state = 'before'`;
    await shown("before");
    if (takenOver) await run.stop();
    await server.kill();
    await noise;
    await sql.end({ timeout: 0 });
    await server.start();

    sql = postgres(server.url, { max: 1, onnotice: () => {} });
    if (takenOver) run = start(options);
    await sql`UPDATE item SET state = 'after'`;
    await shown("after");
    await eventually(() => run.synchronizer.status().ready);
    await run.stop();
    await sql.end();
  });
}

function start(options: RunOptions) {
  const stop = new AbortController();
  const synchronizer = new Synchronizer(options);
  const ended = synchronizer.run({ signal: stop.signal, daemon: true });
  ended.catch(() => stop.abort());
  return {
    synchronizer,
    stop: async () => {
      stop.abort();
      await ended;
    },
  };
}
