import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import postgres from "postgres";
import { isAlive } from "../../../scripts/servers/process.ts";
import { eventually } from "../../support/eventually.ts";
import { ownPostgres, usePostgres, withDatabase } from "../../support/postgres.ts";

async function query(url: string, text: string): Promise<unknown[]> {
  const sql = postgres(url, { max: 1 });
  try {
    return [...await sql.unsafe(text)];
  } finally {
    await sql.end({ timeout: 1 });
  }
}

test("a server is set up for logical replication, and its settings can be changed", async () => {
  const server = await ownPostgres({ settings: { max_wal_senders: "7" } });
  assert.deepEqual(
    await query(
      server.url,
      "SELECT current_setting('wal_level') AS wal, current_setting('max_wal_senders') AS senders, current_setting('TimeZone') AS zone",
    ),
    [{ wal: "logical", senders: "7", zone: "UTC" }],
  );
  await server.restart("fast", { wal_level: "replica" });
  assert.deepEqual(await query(server.url, "SHOW wal_level"), [{ wal_level: "replica" }]);
});

test("what was committed is there after SIGKILL, on the same address", async () => {
  const server = await ownPostgres();
  await query(server.url, "CREATE TABLE kept AS SELECT 42 AS answer");
  await server.kill();
  await assert.rejects(query(server.url, "SELECT 1"), { code: "ECONNREFUSED" });
  await server.start();
  assert.deepEqual(await query(server.url, "SELECT answer FROM kept"), [{ answer: 42 }]);
});

test("a stopped server leaves neither its process nor its data", async () => {
  const server = await ownPostgres();
  const [row] = await query(server.url, "SELECT pg_backend_pid() AS pid");
  assert.ok(existsSync(server.dataDirectory));
  await server.stop();
  assert.equal(existsSync(server.dataDirectory), false);
  assert.ok(typeof row === "object" && row !== null && "pid" in row && !isAlive(Number(row.pid)));
});

test("with a password the server refuses another one", async () => {
  const server = await ownPostgres({ password: "c'est/moi" });
  assert.deepEqual(await query(server.url, "SELECT 1 AS one"), [{ one: 1 }]);
  await assert.rejects(query(withDatabase(server.url, "postgres", "postgres", "wrong"), "SELECT 1"), {
    code: "28P01",
  });
});

for (const major of [15, 17] as const) {
  test(`PostgreSQL ${major}: databases have names of their own and are dropped with their slots`, async () => {
    const server = await usePostgres(major);
    const [one, other] = [await server.createDatabase(), await server.createDatabase()];
    assert.notEqual(one.name, other.name);
    assert.deepEqual(
      await query(
        one.url,
        "SELECT current_database() AS name, current_setting('server_version_num')::int / 10000 AS major",
      ),
      [{ name: one.name, major }],
    );
    await query(one.url, `SELECT pg_create_logical_replication_slot('${one.name}', 'pgoutput')`);
    await one.drop();
    await other.drop();
    await other.drop();
    assert.deepEqual(
      await query(
        server.url,
        `SELECT datname FROM pg_database WHERE datname IN ('${one.name}', '${other.name}')`,
      ),
      [],
    );
  });
}

test("eventually gives up with the last failure", async () => {
  await assert.rejects(
    eventually(() => assert.equal(1, 2), { timeout: 30, what: "one to be two" }),
    /waited 30 ms \(\d+ tries\) for one to be two: .*1 !== 2/s,
  );
  let calls = 0;
  assert.equal(await eventually(() => ++calls > 2 && "three times"), "three times");
});
