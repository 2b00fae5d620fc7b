/**
 * One document in a thousand that the search engine takes for nothing in the world, in a load and in a stream that are killed in
 * the middle: all others arrive, the dead letters are exactly those, and an operator can do something about them, beside
 * the run and without it.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import postgres from "postgres";
import { z } from "zod";
import { freePort } from "../../scripts/servers/ports.ts";
import { parseSchema } from "../../src/schema/parse.ts";
import { deadLetterPageJson, droppedJson, retriedJson } from "../../src/server/dead_letters_json.ts";
import { assertSameDocuments, indexedDocuments } from "../oracle/compare.ts";
import { expectedDocuments } from "../oracle/documents.ts";
import { client, ownElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { pgsyncHome } from "../support/pgsync_process.ts";
import { usePostgres } from "../support/postgres.ts";

const ROWS = 6_000;
const LONG_ID = `${"é".repeat(300)}3000`;
/** As many fields as no index takes by default. */
const MANY_FIELDS = "(SELECT jsonb_object_agg('f' || g, g) FROM generate_series(1, 1100) AS g)";

const TABLES = `
  CREATE TABLE item (id text PRIMARY KEY, n text, j jsonb, body text);
  INSERT INTO item SELECT 'i' || g, g::text, '{"v": 1}', 'body' FROM generate_series(1, ${ROWS}) AS g;
  UPDATE item SET n = 'many' WHERE id IN ('i1000', 'i4000');
  UPDATE item SET body = repeat('x', 2000000) WHERE id = 'i2000';
  UPDATE item SET id = '${LONG_ID}' WHERE id = 'i3000';
  UPDATE item SET j = ${MANY_FIELDS} WHERE id = 'i5000';
  UPDATE item SET n = '99999999999999999999' WHERE id = 'i6000';
  VACUUM FULL ANALYZE item;`.split(";");
/** What the engine says of each. */
const LOADED_POISON = new Map([
  ["i1000", /many/],
  ["i2000", /http\.max_content_length/],
  [LONG_ID, /512 bytes/],
  ["i4000", /many/],
  ["i5000", /Limit of total fields \[1000\]/],
  ["i6000", /out of range/],
]);
const STREAMED_POISON = Array.from({ length: 6 }, (_, thousand) => `i${thousand * 1000 + 1}`);

const listSchema = deadLetterPageJson.pick({ total: true, deadLetters: true });
const retrySchema = retriedJson.omit({ next: true });

test("one document in a thousand is refused, and pgsync is killed: the others arrive, the list has exactly those", async () => {
  const [server, own] = await Promise.all([
    usePostgres(),
    ownElasticsearch({ settings: { "http.max_content_length": "1mb" } }),
  ]);
  const search = client(own.url);
  const database = await server.createDatabase();
  await using sql = Object.assign(postgres(database.url, { max: 1, onnotice: () => {} }), {
    [Symbol.asyncDispose]: () => sql.end(),
  });
  for (const statement of TABLES) await sql.unsafe(statement);
  const index = search.indexName("item");
  const schema = [{
    database: database.name,
    index,
    nodes: { table: "item", transform: { mapping: { n: { type: "long" } } } },
  }];
  const home = pgsyncHome({ schema, postgresUrl: database.url, searchUrl: search.url });
  const [document] = parseSchema(JSON.stringify(schema), "schema.json", {}).documents;
  assert.ok(document !== undefined);
  const env = {
    PGSYNC_LOAD_CHUNK_ROWS: "300",
    ELASTICSEARCH_CHUNK_SIZE: "100",
    PGSYNC_LISTEN: `127.0.0.1:${await freePort()}`,
  };
  const start = () => home.start(["--daemon", "--bootstrap"], { env });
  /** Runs `pgsync dead-letters` with --json. */
  const letters = async <T>(schema: z.ZodType<T>, args: readonly string[], code = 0): Promise<T> => {
    const ended = await home.run(["dead-letters", ...args, "--json"], { env });
    assert.equal(ended.code, code, ended.stderr);
    return schema.parse(JSON.parse(ended.stdout));
  };
  const refusedIds = async () =>
    (await letters(listSchema, ["list", "--all"])).deadLetters.map(({ id }) => id);
  const assertOthersEqual = async (refused: Iterable<string>, when: string) => {
    const expected = await expectedDocuments(sql, document);
    const found = await indexedDocuments(search.url, index);
    for (const id of refused) {
      expected.delete(id);
      found.delete(id);
    }
    assertSameDocuments(expected, found, when);
  };

  // The load.
  let run = await start();
  await run.logged(/following slot/);
  await eventually(async () => {
    const load = (await run.status()).databases[0]?.indices[0]?.load;
    return load !== undefined && load.chunksDone >= 4;
  }, { what: "some chunks to be loaded" });
  await run.end("SIGKILL");
  run = await start();
  await run.ready();
  const first = await letters(listSchema, ["list"]);
  assert.deepEqual(first.deadLetters.map(({ id }) => id).toSorted(), [...LOADED_POISON.keys()].toSorted());
  for (const { id, reason, position, status } of first.deadLetters) {
    assert.match(reason, LOADED_POISON.get(id) ?? /nothing/);
    assert.deepEqual([position, status], [null, id === "i2000" ? 413 : 400]);
  }
  assert.equal((await indexedDocuments(search.url, index)).size, ROWS - LOADED_POISON.size);
  await assertOthersEqual(LOADED_POISON.keys(), "after the load");

  // The stream.
  await sql.unsafe(`
    UPDATE item SET j = CASE id WHEN 'i5000' THEN j ELSE '{"v": 2}' END,
      n = CASE WHEN id IN (${STREAMED_POISON.map((id) => `'${id}'`)}) THEN 'bad' ELSE n END`);
  await eventually(async () => {
    const deadLetters = (await run.status()).databases[0]?.indices[0]?.deadLetters ?? 0;
    return deadLetters > LOADED_POISON.size;
  }, { what: "a change to be refused" });
  await run.end("SIGKILL");
  assert.match(
    run.stderr(),
    /WARN +documents +document i\d*1 of index .+ is refused and kept as a dead letter: .+bad/,
  );
  run = await start();
  await run.ready();
  const poison = [...LOADED_POISON.keys(), ...STREAMED_POISON];
  const second = await letters(listSchema, ["list"]);
  assert.deepEqual(second.deadLetters.map(({ id }) => id).toSorted(), poison.toSorted());
  for (const { id, position, firstAt, lastAt, tries } of second.deadLetters) {
    const before = first.deadLetters.find((letter) => letter.id === id);
    assert.ok(position !== null, `${id} was refused in the stream`);
    assert.ok(tries >= (before?.tries ?? 0) + 1 && firstAt <= lastAt, `${id}: ${tries} tries`);
    if (before !== undefined) assert.equal(firstAt, before.firstAt);
  }
  await assertOthersEqual(poison, "after the stream");

  // Beside the run.
  const raised = { "index.mapping.total_fields.limit": 5_000 };
  assert.equal((await search.request("PUT", `/${index}/_settings`, raised)).status, 200);
  const one = await home.run(["dead-letters", "retry", "--id", "i5000"], { env });
  assert.deepEqual(
    [one.code, one.stdout],
    [0, "1 dead letter tried again: 1 taken, 0 refused again"],
    one.stderr,
  );
  const others = await letters(retrySchema, ["retry", "--all"], 1);
  assert.deepEqual(others, { found: 11, taken: 0, refused: 11, pending: 0 });
  await sql.unsafe("UPDATE item SET n = '1' WHERE n = 'bad'");
  await eventually(async () => (await run.status()).databases[0]?.indices[0]?.deadLetters === 5, {
    what: "the changes to be taken",
  });
  assert.deepEqual(await letters(droppedJson, ["drop", "--index", index, "--id", "i4000", "i5000"]), {
    dropped: 1,
  });
  assert.deepEqual((await refusedIds()).toSorted(), ["i1000", "i2000", "i6000", LONG_ID].toSorted());
  await assertOthersEqual(LOADED_POISON.keys(), "beside the run");

  // Without a run. Nobody hears of this change but the one who tries again.
  assert.equal((await run.end("SIGTERM")).code, 0);
  await sql.unsafe("UPDATE item SET n = '1000' WHERE id = 'i1000'");
  const text = await home.run(["dead-letters", "list", "--limit", "1"], { env });
  assert.match(
    text.stdout,
    new RegExp(`^${index}:\n {2}"i1000": refused .+\n {4}.+ \\(HTTP 400\\): .+\nand 3 more`),
  );
  const alone = await letters(retrySchema, ["retry", "--all"], 1);
  assert.deepEqual(alone, { found: 4, taken: 1, refused: 3, pending: 0 });
  assert.equal((await search.get(index, "i1000"))?._source["n"], "1000");
  assert.deepEqual(await letters(droppedJson, ["drop", "--all"]), { dropped: 3 });
  const none = await home.run(["dead-letters", "list"], { env });
  assert.deepEqual([none.code, none.stdout], [0, "no dead letters"], none.stderr);
  const last = await home.run([], { env });
  assert.equal(last.code, 0, last.stderr);
  await assertOthersEqual(["i2000", LONG_ID, "i4000", "i6000"], "at the end");

  // Another folder than the run's is not one without dead letters.
  const elsewhere = await home.run(["dead-letters", "list", "--checkpoint", "/nowhere"], { env });
  assert.equal(elsewhere.code, 3);
  assert.match(elsewhere.stderr, /STATUS_UNREACHABLE: There is no checkpoint file \/nowhere\/pgsync_/);
});
