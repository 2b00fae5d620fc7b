/** The roles of docs/security.md, made by the SQL that stands there. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import postgres from "postgres";
import type { PostgresServer } from "../../scripts/servers/postgres.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { type PgsyncHome, pgsyncHome, type PgsyncSettings } from "../support/pgsync_process.ts";
import { ownPostgres, withDatabase } from "../support/postgres.ts";

const search = await useElasticsearch();

/** The statements of the manual: those of a superuser, and those of the owner. */
const [bySuperuser = "", byOwner = ""] = [
  ...readFileSync(new URL("../../docs/security.md", import.meta.url), "utf8").matchAll(
    /^ *```sql\n([\s\S]*?)```/gm,
  ),
].map(([, sql]) => sql);

const PASSWORDS = { superuser: "pw-super", shop_owner: "pw-owner", pgsync_run: "pw-run" } as const;

/** Runs statements one by one. */
async function run(url: string, text: string): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    for (const statement of text.split(";")) {
      if (statement.trim() !== "") await sql.unsafe(statement);
    }
  } finally {
    await sql.end({ timeout: 1 });
  }
}

interface Shop {
  readonly url: (role: "shop_owner" | "pgsync_run") => string;
  readonly home: PgsyncHome;
  readonly index: string;
}

/** A database of the owner's with two tables. The role of the run has no more than the manual gives it. */
async function makeShop(server: PostgresServer, database: string): Promise<Shop> {
  const superuser = withDatabase(server.url, database);
  const url = (role: "shop_owner" | "pgsync_run") =>
    withDatabase(server.url, database, role, PASSWORDS[role]);
  await run(server.url, `CREATE DATABASE ${database} OWNER postgres`);
  // What PUBLIC may do by itself is not to help.
  await run(
    superuser,
    `REVOKE ALL ON DATABASE ${database} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC;
    GRANT CONNECT ON DATABASE ${database} TO shop_owner; GRANT ALL ON SCHEMA public TO shop_owner WITH GRANT OPTION`,
  );
  await run(
    superuser,
    bySuperuser.replaceAll("DATABASE shop", `DATABASE ${database}`)
      .replace("…", PASSWORDS.pgsync_run).replace(
        /CREATE ROLE pgsync_run[^;]*;/,
        (create) => database === "shop" ? create : "",
      ),
  );
  await run(
    url("shop_owner"),
    `
    CREATE TABLE book (id int PRIMARY KEY, title text, shelf int);
    CREATE TABLE rating (id int PRIMARY KEY, book_id int NOT NULL REFERENCES book, value numeric)`,
  );
  await run(url("shop_owner"), byOwner);
  await run(
    url("shop_owner"),
    `
    INSERT INTO book SELECT g, 'book ' || g, g FROM generate_series(1, 500) AS g;
    INSERT INTO rating SELECT g, 1 + g % 500, g FROM generate_series(1, 1000) AS g`,
  );
  const index = search.indexName("roles");
  const schema = [{
    database,
    index,
    nodes: {
      table: "book",
      // The engine refuses what is no byte.
      transform: { mapping: { shelf: { type: "byte" } } },
      children: [{ table: "rating", relationship: { type: "one_to_many", variant: "object" } }],
    },
  }];
  const home = pgsyncHome({ schema, postgresUrl: url("pgsync_run"), searchUrl: search.url });
  return { url, home, index };
}

for (const major of [13, 17] as const) {
  const server = await ownPostgres({ major, password: PASSWORDS.superuser });
  await run(server.url, `CREATE ROLE shop_owner LOGIN PASSWORD '${PASSWORDS.shop_owner}'`);
  describe(`PostgreSQL ${major}, by the SQL of the manual`, () => {
    it("the owner does bootstrap, and the role of the run loads, streams, verifies, and tells of refused documents", async () => {
      const { url, home, index } = await makeShop(server, "shop");
      const denied = await home.run(["bootstrap"]);
      assert.equal(denied.code, 4, denied.stderr);
      assert.match(denied.stderr, /PRIVILEGE_MISSING: Role "pgsync_run" may not create a publication/);
      const asOwner: PgsyncSettings = { env: { PG_URL: url("shop_owner") } };
      const made = await home.run(["bootstrap"], asOwner);
      assert.equal(made.code, 0, made.stderr);
      await run(server.url, "ALTER ROLE shop_owner NOREPLICATION");

      const process = await home.start(["--daemon"]);
      await process.ready();
      assert.equal(await search.count(index), 128 - 1, "a byte ends at 127");
      await run(
        url("shop_owner"),
        `UPDATE book SET title = 'another' WHERE id = 7; DELETE FROM rating WHERE book_id = 9;
        INSERT INTO book VALUES (1001, 'new', 1)`,
      );
      await eventually(async () => {
        assert.equal((await search.get(index, "7"))?._source["title"], "another");
        assert.equal((await search.get(index, "9"))?._source["rating"], null);
        assert.notEqual(await search.get(index, "1001"), null);
      });
      const PGSYNC_STATUS_URL = (await process.logged(/status at (http:\S+)/))[1] ?? "";
      const asks: PgsyncSettings = { env: { PGSYNC_STATUS_URL } };
      const status = await home.run(["status", "--json"], asks);
      assert.equal(status.code, 0, status.stderr);
      const retried = await home.run(["dead-letters", "retry", "--all", "--json"], asks);
      assert.equal(retried.code, 1, retried.stderr);
      assert.deepEqual(JSON.parse(retried.stdout), { found: 373, taken: 0, refused: 373, pending: 0 });
      await run(url("shop_owner"), "UPDATE book SET shelf = 1");
      await eventually(async () => assert.equal(await search.count(index), 501));
      const verified = await home.run(["verify"]);
      assert.equal(verified.code, 0, verified.stderr);
      assert.equal((await process.end("SIGTERM")).code, 0);

      await search.request("DELETE", `/${index}/_doc/7`);
      const repaired = await home.run(["verify", "--repair"]);
      assert.equal(repaired.code, 0, repaired.stderr);
      const again = await home.run([]);
      assert.equal(again.code, 0, again.stderr);
      assert.notEqual(await search.get(index, "7"), null);
      for (const command of [["plan"], ["preview", "--limit", "1"]]) {
        const ended = await home.run(command);
        assert.equal(ended.code, 0, ended.stderr);
      }
      await assert.rejects(run(url("pgsync_run"), "UPDATE book SET title = 'by the run'"), { code: "42501" });
    });

    it("an owner who has only SQL runs the plan's, and the run makes the slot", async () => {
      const { url, home, index } = await makeShop(server, "shop_by_plan");
      await run(server.url, "ALTER ROLE shop_owner NOREPLICATION");
      const planned = await home.run(["plan", "--json"]);
      assert.equal(planned.code, 1, planned.stderr);
      const statements: string[] = JSON.parse(planned.stdout).databases[0].bootstrapSql;
      const [slot, ...others] = statements.toReversed();
      assert.match(slot ?? "", /pg_create_logical_replication_slot/);
      await run(url("shop_owner"), others.toReversed().join("\n"));
      const loaded = await home.run(["--bootstrap"]);
      assert.equal(loaded.code, 0, loaded.stderr);
      assert.equal(await search.count(index), 127);

      await run(server.url, "SELECT pg_drop_replication_slot('pgsync_shop_by_plan')");
      const anew = await home.run(["--on-slot-loss", "resync"]);
      assert.equal(anew.code, 0, anew.stderr);
      await run(url("shop_owner"), "ALTER TABLE rating ENABLE ROW LEVEL SECURITY");
      const hidden = await home.run(["verify"]);
      assert.notEqual(hidden.code, 0);
      assert.match(hidden.stderr, /row-level security/);
      const torn = await home.run(["teardown"]);
      assert.equal(torn.code, 4, torn.stderr);
      assert.match(torn.stderr, /PRIVILEGE_MISSING.*publication/);
    });
  });
}
