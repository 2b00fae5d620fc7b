/** The generator of worlds: always the same for a seed, wide in reach, and never refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import postgres from "postgres";
import { parseSchema } from "../../src/schema/parse.ts";
import { SEARCH_DEFAULTS } from "../../src/search/options.ts";
import { RUN_DEFAULTS } from "../../src/sync/options.ts";
import { planRun } from "../../src/sync/setup/plan_run.ts";
import { optionsOf } from "../postgres/options.ts";
import { usePostgres } from "../support/postgres.ts";
import type { World } from "./world.ts";
import { makeWorld } from "./world_generator.ts";

const WORLDS = Array.from({ length: 300 }, (_, seed) => makeWorld(seed));

/** What worlds must have: a seed in a hundred at the very least for each. */
const REACH = [
  ...["2 tables", "7 tables", "1 documents", "2 documents", "3 documents", "depth 0", "depth 1", "depth 4"],
  ...["key on child", "key on parent", "self reference down", "self reference up", "join of values"],
  ...["link table with surrogate key", "link table with composite key", "link table with no key"],
  ...["link table in another schema", "one_to_one through a link table", "partitioned link table"],
  ...["composite key", "key in other order than its columns", "table without key", "reference in the key"],
  ...["composite reference", "reference in other order than the key", "reference to a unique constraint"],
  ...["reference of another type", "column in two references", "link without index"],
  ...["foreign_key without constraint", "foreign_key beside a constraint", "deferrable constraint"],
  ...["ON DELETE NO ACTION", "ON DELETE CASCADE", "ON DELETE SET NULL"],
  ...["ON UPDATE NO ACTION", "ON UPDATE CASCADE", "ON UPDATE SET NULL"],
  ...["table twice in a tree", "table in several documents", "same root twice"],
  ...["several schemas", "same name in two schemas", "quoted table", "quoted column", "dotted name"],
  ...["key int", "key bigint", "key smallint", "key text", "key varchar", "key char", "key uuid", "key date"],
  ...["key enum", "key numeric", "key domain over int", "key domain over text"],
  ...[
    "partitioned root",
    "partitioned child",
    "partition by list",
    "partition by range",
    "partition by hash",
  ],
  ...["default partition", "attached partition", "partition of a partition"],
  ...["replica identity FULL before", "replica identity NOTHING before"],
  ...["all columns", "column subset", "JSON path", "label", "label null", "label over a column", "rename"],
  ...["scalar", "scalars", "one_to_one with several matches", "one_to_one over key on parent"],
  ...["value generated", "value large text", "value json", "value jsonb", "value array", "value range"],
  ...["value timestamptz", "value timestamp", "value date", "value interval", "value numeric", "value float"],
  ...[
    "view as root",
    "view as child",
    "view: part of a table",
    "view: join",
    "view: groups",
    "view without key",
    "view with a loose key as root",
    "view with a loose key as child",
    "view over a view",
    "materialised view as root",
    "materialised view as child",
    "materialised view refreshed concurrently",
  ],
  ...["value bytea", "value bool", "value enum", "value uuid", "value text", "value bigint"],
];

function schemaOf(world: World): unknown {
  return world.schema("database", (place) => `index${place}`);
}

test("a seed gives the same world each time", () => {
  for (const world of WORLDS.slice(0, 50)) {
    const again = makeWorld(world.seed);
    assert.deepEqual({ ...again, schema: schemaOf(again) }, { ...world, schema: schemaOf(world) });
  }
});

test("everything that there is to be had occurs", () => {
  const counts = new Map<string, number>();
  for (const trait of WORLDS.flatMap((world) => world.traits)) {
    counts.set(trait, (counts.get(trait) ?? 0) + 1);
  }
  assert.deepEqual(REACH.filter((trait) => (counts.get(trait) ?? 0) < WORLDS.length / 100), []);
  const columns = WORLDS.flatMap((world) => world.tables.flatMap((table) => table.columns));
  assert.ok(columns.some((column) => column.droppable) && columns.some((column) => !column.droppable));
  assert.ok(WORLDS.some((world) => world.tables.some((table) => table.showsAllColumns)));
});

test("rows can be inserted in the order of the tables", () => {
  for (const { tables, seed } of WORLDS) {
    for (const [place, table] of tables.entries()) {
      const ahead = table.references.filter((reference) =>
        reference.constraint !== null && reference.target > place
      );
      assert.deepEqual(ahead, [], `seed ${seed}`);
    }
  }
});

test("what may be dropped is named nowhere", () => {
  for (const { tables, seed } of WORLDS) {
    for (const table of tables) {
      const named = new Set([
        ...[table.primaryKey, ...table.uniques, ...table.references.map((reference) => reference.columns)]
          .flat(),
        ...tables.flatMap((other) =>
          other.references.filter((reference) => tables[reference.target] === table)
        )
          .flatMap((reference) => reference.targetColumns),
      ]);
      const wrong = table.columns.filter((column) => column.droppable && named.has(column.name));
      assert.deepEqual(wrong, [], `seed ${seed}`);
    }
  }
});

test("PostgreSQL makes the tables, and the product plans their documents without a complaint", async () => {
  const server = await usePostgres();
  for (const world of WORLDS.filter(({ seed }) => seed % 25 === 0)) {
    const database = await server.createDatabase();
    const sql = postgres(database.url, { max: 1, onnotice: () => {} });
    try {
      for (const statement of world.ddl) await sql.unsafe(statement);
      const text = JSON.stringify(world.schema(database.name, (place) => `index${place}`));
      const schema = parseSchema(text, "schema.json", {});
      assert.deepEqual(schema.warnings, [], `seed ${world.seed}`);
      const plan = await planRun({
        ...RUN_DEFAULTS,
        schema,
        postgres: optionsOf(database.url),
        search: { ...SEARCH_DEFAULTS, urls: [] },
        checkpointFolder: "",
      });
      assert.deepEqual(plan.databases.map(({ problems }) => problems), [[]], `seed ${world.seed}`);
    } finally {
      await sql.end();
      await database.drop();
    }
  }
});
