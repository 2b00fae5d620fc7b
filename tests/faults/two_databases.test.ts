/** Documents in two databases, by one process: each is followed by itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import postgres from "postgres";
import { parseSchema } from "../../src/schema/parse.ts";
import { assertSameDocuments, indexedDocuments } from "../oracle/compare.ts";
import { expectedDocuments } from "../oracle/documents.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { pgsyncHome, type PgsyncProcess } from "../support/pgsync_process.ts";
import { usePostgres } from "../support/postgres.ts";

const TABLES = `
  CREATE TABLE book (id int PRIMARY KEY, title text);
  CREATE TABLE review (id int PRIMARY KEY, book_id int REFERENCES book ON DELETE CASCADE, stars int);
  CREATE INDEX ON review (book_id);
  INSERT INTO book SELECT n, current_database() || n FROM generate_series(1, 400) n;
  INSERT INTO review SELECT n, 1 + n % 400, n % 5 FROM generate_series(1, 900) n`;

test("two databases: loaded, followed, one away while the other goes on, stopped and started", async () => {
  const [server, search] = await Promise.all([usePostgres(), useElasticsearch()]);
  const sides = await Promise.all(["one", "two"].map(async (name) => {
    const database = await server.createDatabase();
    const sql = postgres(database.url, { max: 1, onnotice: () => {} });
    await sql.unsafe(TABLES);
    return { database, sql, index: search.indexName(name) };
  }));
  const [one, two] = sides;
  assert.ok(one !== undefined && two !== undefined);
  const schema = sides.map(({ database, index }) => ({
    database: database.name,
    index,
    nodes: {
      table: "book",
      children: [{
        table: "review",
        label: "reviews",
        relationship: { variant: "object", type: "one_to_many" },
      }],
    },
  }));
  const home = pgsyncHome({ schema, postgresUrl: server.url, searchUrl: search.url });
  const { documents } = parseSchema(JSON.stringify(schema), "schema.json", {});
  const equal = async (side: typeof one) => {
    const document = documents.find(({ index }) => index === side.index);
    assert.ok(document !== undefined);
    const found = await indexedDocuments(search.url, side.index);
    assertSameDocuments(await expectedDocuments(side.sql, document), found, side.index);
    return true;
  };
  const arrives = (side: typeof one, what: string) => eventually(() => equal(side), { what });
  const statusOf = async (run: PgsyncProcess, side: typeof one) => {
    const found = (await run.status()).databases.find(({ database }) => database === side.database.name);
    assert.ok(found !== undefined);
    return found;
  };

  const run = await home.start(["--daemon", "--bootstrap"]);
  await run.ready();
  for (const side of sides) await equal(side);
  for (const { sql } of sides) {
    await sql`UPDATE review SET stars = stars + 1 WHERE id < 50`;
    await sql`DELETE FROM book WHERE id < 5`;
  }
  for (const side of sides) await arrives(side, "changes of both");

  // As for a maintenance: nobody gets in, and nobody is left in.
  const admin = postgres(server.url, { max: 1, onnotice: () => {} });
  await two.sql`UPDATE book SET title = 'before it goes' WHERE id = 10`;
  await two.sql.end();
  await admin.unsafe(`ALTER DATABASE ${two.database.name} ALLOW_CONNECTIONS false`);
  await admin`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ${two.database.name}`;
  await eventually(async () => !(await statusOf(run, two)).stream.connected, {
    what: "the stream to be cut",
  });
  for (let round = 0; round < 3; round++) {
    await one.sql`UPDATE book SET title = ${`round ${round}`} WHERE id % 7 = ${round}`;
    await one.sql`INSERT INTO book VALUES (${1000 + round}, 'new')`;
    await arrives(one, "changes of the one that is there");
  }
  assert.deepEqual((await statusOf(run, one)).notReady, []);
  assert.equal((await statusOf(run, two)).ready, false);
  assert.equal((await run.get("/ready")).status, 503, "what is away is not ready");
  await admin.unsafe(`ALTER DATABASE ${two.database.name} ALLOW_CONNECTIONS true`);
  two.sql = postgres(two.database.url, { max: 1, onnotice: () => {} });
  await two.sql`UPDATE book SET title = 'back' WHERE id % 5 = 0`;
  await arrives(two, "changes of the one that was away");
  await run.ready();

  assert.equal((await run.end("SIGTERM")).code, 0);
  for (const { sql } of sides) await sql`UPDATE book SET title = 'while it was stopped' WHERE id % 3 = 0`;
  const caughtUp = await home.run([]);
  assert.equal(caughtUp.code, 0, caughtUp.stderr);
  assert.doesNotMatch(caughtUp.stderr, /load of/);
  for (const side of sides) {
    await equal(side);
    await side.sql.end();
  }
  await admin.end();
});
