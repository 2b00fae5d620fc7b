/** Names and values that try to be statements, from bootstrap to teardown, on real servers: what they would do away with is still there. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import postgres from "postgres";
import { quoteIdentifier } from "../../src/postgres/quote.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { pgsyncHome } from "../support/pgsync_process.ts";
import { ownPostgres } from "../support/postgres.ts";

const NAMES = {
  database: `d"'; DROP TABLE canary; --`,
  schema: `s"; DROP TABLE canary; --`,
  root: `r'); DROP TABLE canary; --`,
  child: `c\\'; DROP TABLE canary; /*`,
  link: `$$ l "; DROP TABLE canary; $$`,
  far: `f\n"; DROP TABLE canary; --`,
  key: `k" = '' OR true; --`,
  column: `v', (DELETE FROM canary), '`,
  foreign: `x"."y'; DROP TABLE canary`,
  field: `", "injected": "`,
};
/** A document's id is its key: one that ends the line of a bulk request, and goes on with another. */
const KEYS = [
  `1"}}\n{"delete":{"_id":"canary"}}\n`,
  `2'; DROP TABLE canary; --`,
  `3\\"}}\r\n{"delete":{"_index":"canary","_id":"canary"}}\r\n`,
  `4\u2028\u0085\t" '`,
  "canary",
];

const server = await ownPostgres();
const search = await useElasticsearch();
const index = search.indexName("hostile");
const q = quoteIdentifier;
const admin = postgres(server.url, { max: 1, onnotice: () => {} });
await admin.unsafe(`CREATE DATABASE ${q(NAMES.database)}`);
const sql = postgres(server.url, { database: NAMES.database, max: 1, onnotice: () => {} });
after(() => Promise.all([admin.end({ timeout: 1 }), sql.end({ timeout: 1 })]));

before(async () => {
  const table = (name: string) => `${q(NAMES.schema)}.${q(name)}`;
  const toRoot = `${q(NAMES.foreign)} text REFERENCES ${table(NAMES.root)}`;
  for (
    const statement of [
      "CREATE TABLE public.canary (id int PRIMARY KEY)",
      "INSERT INTO public.canary VALUES (1)",
      `CREATE SCHEMA ${q(NAMES.schema)}`,
      `CREATE TABLE ${table(NAMES.root)} (${q(NAMES.key)} text PRIMARY KEY, ${q(NAMES.column)} text)`,
      `CREATE TABLE ${table(NAMES.child)} (id int PRIMARY KEY, ${toRoot}, ${q(NAMES.column)} text)`,
      `CREATE TABLE ${table(NAMES.far)} (id int PRIMARY KEY, ${q(NAMES.column)} text)`,
      `CREATE TABLE ${table(NAMES.link)} (${toRoot}, far int REFERENCES ${table(NAMES.far)}, PRIMARY KEY (${
        q(NAMES.foreign)
      }, far))`,
      `INSERT INTO ${table(NAMES.far)} VALUES (1, 'far')`,
    ]
  ) await sql.unsafe(statement);
  for (const [at, key] of KEYS.entries()) {
    await sql.unsafe(`INSERT INTO ${table(NAMES.root)} VALUES ($1, $2)`, [key, key]);
    await sql.unsafe(`INSERT INTO ${table(NAMES.child)} VALUES ($1::int, $2, $2)`, [at, key]);
    await sql.unsafe(`INSERT INTO ${table(NAMES.link)} VALUES ($1, 1)`, [key]);
  }
});

test("names and values that are statements are names and values, from bootstrap to teardown", async () => {
  const relationship = { type: "one_to_many", variant: "object" };
  const schema = [{
    database: NAMES.database,
    index,
    nodes: {
      table: NAMES.root,
      schema: NAMES.schema,
      transform: { rename: { [NAMES.column]: NAMES.field } },
      children: [
        { table: NAMES.child, schema: NAMES.schema, label: `${NAMES.field}2`, relationship },
        {
          table: NAMES.far,
          schema: NAMES.schema,
          relationship: {
            ...relationship,
            through_tables: [`${NAMES.schema}.${NAMES.link}`],
          },
        },
      ],
    },
  }];
  const home = pgsyncHome({ schema, postgresUrl: server.url, searchUrl: search.url });
  const isWhole = async () => {
    const documents = await search.all(index);
    assert.deepEqual([...documents.keys()].toSorted(), KEYS.toSorted());
    for (const [id, source] of documents) assert.equal(source[NAMES.field], id);
    assert.equal((await sql`SELECT FROM public.canary`).length, 1);
  };
  const run = await home.start(["--daemon", "--bootstrap"]);
  await run.ready();
  await isWhole();
  await sql.unsafe(`UPDATE ${q(NAMES.schema)}.${q(NAMES.child)} SET ${q(NAMES.column)} = $1`, [
    `'; DROP TABLE canary; --`,
  ]);
  await sql.unsafe(`UPDATE ${q(NAMES.schema)}.${q(NAMES.far)} SET ${q(NAMES.column)} = $1`, [
    `"}}\n{"delete":{"_id":"canary"}}`,
  ]);
  await eventually(async () => {
    for (const [id, source] of await search.all(index)) {
      assert.deepEqual(
        Reflect.get(Object(Reflect.get(Object(source[`${NAMES.field}2`]), 0)), NAMES.column),
        `'; DROP TABLE canary; --`,
        id,
      );
      assert.deepEqual(
        Reflect.get(Object(Reflect.get(Object(source[NAMES.far]), 0)), NAMES.column),
        `"}}\n{"delete":{"_id":"canary"}}`,
        id,
      );
    }
  });
  await isWhole();
  assert.equal((await run.end("SIGTERM")).code, 0);
  for (const command of [["verify"], ["plan", "--verbose"], ["preview"], ["teardown"]]) {
    const ended = await home.run(command);
    assert.equal(ended.code, 0, `${command[0]}: ${ended.stderr}`);
  }
  assert.equal((await sql`SELECT FROM public.canary`).length, 1);
});
