/** An index that takes no documents, or not all: blocked, closed, deleted, full of fields. */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { parseSchema } from "../../src/schema/parse.ts";
import { assertSameDocuments, indexedDocuments } from "../oracle/compare.ts";
import { expectedDocuments } from "../oracle/documents.ts";
import { type SharedElasticsearch, useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { pgsyncHome, type PgsyncProcess } from "../support/pgsync_process.ts";
import { type SharedPostgres, usePostgres } from "../support/postgres.ts";
import { notReady, settled } from "./settled.ts";
import { connect } from "./tree.ts";

const ROWS = 60;
const TABLE = `
  CREATE TABLE thing (id int PRIMARY KEY, name text NOT NULL, data jsonb NOT NULL DEFAULT '{}');
  INSERT INTO thing SELECT id, 'thing ' || id FROM generate_series(1, ${ROWS}) AS id`;

describe("an index", () => {
  let postgres: SharedPostgres;
  let elasticsearch: SharedElasticsearch;
  before(async () => {
    [postgres, elasticsearch] = await Promise.all([usePostgres(), useElasticsearch()]);
  });

  /** A table and a run that has loaded it. */
  async function start() {
    const database = await postgres.createDatabase();
    const sql = connect(database.url);
    await sql.unsafe(TABLE);
    const index = elasticsearch.indexName("thing");
    const text = JSON.stringify([{ database: database.name, index, nodes: { table: "thing" } }]);
    const home = pgsyncHome({ schema: text, postgresUrl: database.url, searchUrl: elasticsearch.url });
    const env = { PGSYNC_CATALOG_INTERVAL: "0.2" };
    const run = await home.start(["--daemon", "--bootstrap"], { env });
    await run.ready();
    const [document = assert.fail()] = parseSchema(text, "schema.json", {}).documents;
    const assertEqual = async (running: PgsyncProcess, when: string) => {
      await settled(running, database.url);
      assertSameDocuments(
        await expectedDocuments(sql, document),
        await indexedDocuments(elasticsearch.url, index),
        when,
      );
    };
    /** The setting of an index, by its alias. */
    const set = async (settings: unknown) => {
      const answer = await elasticsearch.request("PUT", `/${index}/_settings`, settings);
      assert.equal(answer.status, 200, JSON.stringify(answer));
    };
    const deadLetters = async (running: PgsyncProcess) =>
      (await running.status()).databases[0]?.indices[0]?.deadLetters;
    return { database, sql, index, home, env, run, assertEqual, set, deadLetters };
  }

  /** Something of each kind. */
  const CHANGES = `
    UPDATE thing SET name = 'changed' WHERE id <= 20;
    DELETE FROM thing WHERE id BETWEEN 21 AND 30;
    INSERT INTO thing SELECT id, 'new' FROM generate_series(101, 120) AS id`;

  test("that the flood stage has made read-only is waited for", async () => {
    const { sql, run, set, assertEqual, deadLetters } = await start();
    await set({ "index.blocks.read_only_allow_delete": true });
    await sql.unsafe(CHANGES);
    await notReady(run, /does not take documents.*cluster_block_exception.*flood-stage/);
    assert.match(run.stderr(), /WARN.*cluster_block_exception.*Trying again.*disk space/);
    await set({ "index.blocks.read_only_allow_delete": null });
    await assertEqual(run, "when the block is gone");
    assert.equal(await deadLetters(run), 0);
    assert.equal((await run.end("SIGTERM")).code, 0);
    await sql.end();
  });

  test("that is closed is waited for", async () => {
    const { sql, index, run, assertEqual, deadLetters } = await start();
    const generation = (await run.status()).databases[0]?.indices[0]?.generation;
    await elasticsearch.request("POST", `/${generation}/_close`);
    await sql.unsafe(CHANGES);
    await notReady(run, /does not take documents.*index_closed_exception/);
    assert.match(run.stderr(), /WARN.*index_closed_exception.*Trying again/);
    await elasticsearch.request("POST", `/${generation}/_open`);
    await assertEqual(run, `when ${index} is open again`);
    assert.equal(await deadLetters(run), 0);
    assert.equal((await run.end("SIGTERM")).code, 0);
    await sql.end();
  });

  test("is seen to be closed, blocked or gone while nothing changes, and to take documents again", async () => {
    const { sql, index, run, set } = await start();
    const generation = (await run.status()).databases[0]?.indices[0]?.generation;
    const takesNone = async (reason: RegExp) => {
      await notReady(run, reason);
      assert.match((await run.status()).databases[0]?.warnings.join() ?? "", reason);
      await run.logged(new RegExp(`WARN.*${reason.source}`));
    };
    const takes = async () => {
      await run.ready();
      assert.deepEqual((await run.status()).databases[0]?.warnings, []);
    };
    await elasticsearch.request("POST", `/${generation}/_close`);
    await takesNone(/The index .* is closed/);
    await elasticsearch.request("POST", `/${generation}/_open`);
    await takes();
    await set({ "index.blocks.write": true });
    await takesNone(/The index .* is blocked by its setting index\.blocks\.write\./);
    await set({ "index.blocks.write": null });
    await takes();
    await elasticsearch.request("DELETE", `/${generation}`);
    await takesNone(/The index .* does not exist any more/);
    assert.match((await run.status()).databases[0]?.warnings.join() ?? "", /Start with --bootstrap/);
    assert.equal((await elasticsearch.request("GET", `/${index}`)).status, 404, "it is not made by itself");
    assert.equal((await run.end("SIGTERM")).code, 0);
    await sql.end();
  });

  test("that was deleted ends the run with a named error; --bootstrap makes it and loads it anew", async () => {
    const { sql, home, env, run, assertEqual } = await start();
    const generation = (await run.status()).databases[0]?.indices[0]?.generation;
    await elasticsearch.request("DELETE", `/${generation}`);
    await sql.unsafe(CHANGES);
    for (const ended of [await run.ended, await home.run(["--daemon"], { env })]) {
      assert.equal(ended.code, 5, ended.stderr);
      assert.match(
        ended.stderr,
        /^error INDEX_MISSING: .*\n.*Start with --bootstrap: the index is made and loaded anew/m,
      );
    }
    const found = await elasticsearch.request("GET", `/${generation}`);
    assert.equal(found.status, 404, "no request has made an index of its own");
    const again = await home.start(["--daemon", "--bootstrap"], { env });
    await again.logged(/INFO.*index .* had been loaded and was gone: it will be loaded anew/);
    await assertEqual(again, "when it was loaded anew");
    assert.equal((await again.end("SIGTERM")).code, 0);
    await sql.end();
  });

  test("that has as many fields as it may have refuses documents with new ones, and takes the others", async () => {
    const { sql, run, set, assertEqual, deadLetters } = await start();
    await set({ "index.mapping.total_fields.limit": 8 });
    await sql.unsafe(`
      UPDATE thing SET data = jsonb_build_object('a', 1, 'b', 2, 'c', 3, 'd', 4, 'e', 5, 'f', 6, 'g', 7, 'h', 8) WHERE id <= 3;
      UPDATE thing SET name = 'other' WHERE id > 3`);
    await eventually(async () => assert.equal(await deadLetters(run), 3), { what: "three dead letters" });
    const { body } = await run.get("/ready");
    assert.match(JSON.stringify(body), /"ready":true/);
    await set({ "index.mapping.total_fields.limit": 100 });
    await sql`UPDATE thing SET name = 'again' WHERE id <= 3`;
    await assertEqual(run, "when there is room for the fields");
    assert.equal(await deadLetters(run), 0, "what was refused is replaced");
    assert.equal((await run.end("SIGTERM")).code, 0);
    await sql.end();
  });

  test("that has as many fields as it may have is waited for when columns are added, until it has room or they are dropped", async () => {
    const { sql, home, env, run: first, set, assertEqual, deadLetters } = await start();
    await set({ "index.mapping.total_fields.limit": 6 });
    const refused = /refused to add fields to the mapping.*Limit of total fields/;
    const addColumns = () =>
      sql`ALTER TABLE thing ADD COLUMN one text, ADD COLUMN two text, ADD COLUMN three text`;
    await addColumns();
    await notReady(first, refused);
    assert.match(first.stderr(), /WARN.*Trying again.*index\.mapping\.total_fields\.limit/);
    await sql`ALTER TABLE thing DROP COLUMN one, DROP COLUMN two, DROP COLUMN three`;
    await assertEqual(first, "when the columns are gone");
    await first.end("SIGTERM");

    await addColumns();
    const once = await home.run([], { env });
    assert.equal(once.code, 4, once.stderr);
    assert.match(once.stderr, /^error FIELDS_REFUSED: .*\n.*index\.mapping\.total_fields\.limit/m);
    const run = await home.start(["--daemon"], { env });
    await sql`UPDATE thing SET one = 'one', two = 'two' WHERE id <= 20`;
    await notReady(run, refused);
    await set({ "index.mapping.total_fields.limit": 100 });
    await assertEqual(run, "when there is room for the columns");
    assert.equal(await deadLetters(run), 0);
    assert.equal((await run.end("SIGTERM")).code, 0);
    await sql.end();
  });
});
