/** The commands that only read, on a real PostgreSQL: what stands on stdout stands there alone. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import postgres from "postgres";
import { usePostgres } from "../support/postgres.ts";
import { pgsync, start } from "./process.ts";

const ROWS = 20_000;
let env: Record<string, string> = {};
let schema = "";

before(async () => {
  const database = await (await usePostgres(17)).createDatabase();
  const sql = postgres(database.url, { max: 1, onnotice: () => {} });
  await sql.unsafe(`
    CREATE TABLE book (isbn text PRIMARY KEY, price numeric, title text);
    INSERT INTO book SELECT 'b' || n, 12345678901234567890.10, repeat('x', 200) FROM generate_series(1, ${ROWS}) n;
    ANALYZE book;
  `);
  await sql.end();
  env = { PG_URL: database.url, PGSYNC_ENV_FILE: "off" };
  schema = JSON.stringify([{ database: database.name, index: "books", nodes: { table: "book" } }]);
});

test("plan is for people; it exits 1 only where something is wrong", async () => {
  const { code, stdout, stderr } = await pgsync(["plan", "-c", "-"], { env, input: schema });
  assert.ok(code === 0 || code === 1, stderr);
  assert.equal(code === 1, /^What is wrong$/m.test(stdout), stdout);
  assert.match(stdout, /^Index books\n {2}book +~20,000 rows {2}isbn, price, title$/m);
  assert.match(stdout, /^What bootstrap would run$/m);
});

test("plan --json is JSON alone", async () => {
  const { stdout } = await pgsync(["plan", "-c", "-", "--json"], { env, input: schema });
  const plan = JSON.parse(stdout);
  assert.equal(plan.databases[0].indices[0].index, "books");
});

test("preview prints NDJSON; the numbers keep their digits", async () => {
  const { code, stdout, stderr } = await pgsync(["preview", "-c", "-", "--limit", "3", "-v"], {
    env,
    input: schema,
  });
  assert.equal(code, 0, stderr);
  const lines = stdout.trimEnd().split("\n");
  assert.equal(lines.length, 3);
  for (const line of lines) {
    const { _index, _id, _source } = JSON.parse(line);
    assert.equal(_index, "books");
    assert.equal(_source.isbn, _id);
    assert.match(line, /"price" ?: ?12345678901234567890\.10\b/);
  }
});

test("preview prints them all, however slowly they are read", async () => {
  const { code, stdout } = await pgsync(["preview", "-c", "-"], { env, input: schema });
  assert.equal(code, 0);
  assert.equal(stdout.split("\n").length - 1, ROWS);
});

test("preview ends quietly when its reader goes away", async () => {
  const running = start("../../cli.ts", ["preview", "-c", "-"], { env, input: schema });
  running.closeStdoutAfter(10_000);
  const { code, stderr } = await running.ended;
  assert.equal(code, 0, stderr);
  assert.equal(stderr, "");
});

test("a server that is not there: one sentence, exit 3", async () => {
  const { code, stdout, stderr } = await pgsync(["preview", "-c", "-", "-h", "127.0.0.1", "-p", "1"], {
    env,
    input: schema,
  });
  assert.equal(code, 3, stderr);
  assert.equal(stdout, "");
  assert.match(stderr, /^error POSTGRES_UNREACHABLE: .+\n {2}.+\n$/);
});
