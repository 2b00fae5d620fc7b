import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type TestedMajor, usePostgres } from "../support/postgres.ts";
import postgres from "postgres";
import { DECLARED, KEY_TYPES, NEWER_VALUES, NO_INPUT, VALUES, WITHOUT_ORDER } from "./built_in_values.ts";
import { assertFormsAgree } from "./forms.ts";
import { planRun } from "../../src/sync/setup/plan_run.ts";
import { Bench } from "./support.ts";

/** How many rows the table of all types has: one for each value of the type that has most. */
const ROWS = 10;

/** Settings that decide how values print, none as pgsync sets it; of the role in the database, which beats all but the session. */
const HOSTILE = [
  "DateStyle = 'SQL, DMY'",
  "TimeZone = 'Asia/Kathmandu'",
  "IntervalStyle = 'iso_8601'",
  "extra_float_digits = -15",
  "bytea_output = 'escape'",
  "standard_conforming_strings = off",
  "quote_all_identifiers = on",
  "array_nulls = off",
  "search_path = 'nowhere'",
  "client_encoding = 'LATIN1'",
];
const SET_HOSTILE = `do $$ begin ${
  HOSTILE.map((setting) =>
    `execute format('alter role %I in database %I set ${
      setting.replaceAll("'", "''")
    }', current_user, current_database());`
  ).join("\n")
} end $$`;

/** Built-in types that can be a column's, with the values that this server takes. */
async function typesOf(major: TestedMajor): Promise<Map<string, readonly string[]>> {
  const sql = postgres((await usePostgres(major)).url, { max: 1 });
  try {
    // The server's own word, for other majors may be tried by hand.
    const [{ version } = { version: major }] = await sql<{ version: number }[]>`
      select current_setting('server_version_num')::int / 10000 as version`;
    const rows = await sql<{ name: string }[]>`
      select typname as name from pg_catalog.pg_type
      where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'r', 'm', 'e', 'd') and typname !~ '^_'`;
    const names = rows.map((row) => row.name).filter((name) => !NO_INPUT.has(name));
    assert.deepEqual(names.filter((name) => VALUES[name] === undefined), [], "every type has values here");
    return new Map(names.map((name) => {
      const newer = NEWER_VALUES.filter((entry) => entry.type === name && entry.since <= version);
      return [name, [...VALUES[name] ?? [], ...newer.flatMap((entry) => entry.values)]];
    }));
  } finally {
    await sql.end();
  }
}

function literal(value: string): string {
  return `E'${value.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

function declared(type: string): string {
  return DECLARED[type] ?? type;
}

/** A value of a row: the type's, or NULL where it has not so many. */
function valueAt(type: string, values: readonly string[], row: number): string {
  const value = values[row];
  return value === undefined ? "null" : `${literal(value)}::${declared(type)}`;
}

/** Columns of every type and of arrays of it, and what is not of one type alone. */
function tableOfAll(types: ReadonlyMap<string, readonly string[]>): string {
  const entries = [...types];
  const columns = entries.flatMap((
    [type],
  ) => [`"${type}" ${declared(type)}`, `"${type}s" ${declared(type)}[]`]);
  const rows = Array.from({ length: ROWS }, (_, row) => {
    const values = entries.flatMap(([type, of]) => [
      valueAt(type, of, row),
      row < of.length ? `array[${valueAt(type, of, row)}, null, ${valueAt(type, of, 0)}]` : "null",
    ]);
    return `(${row + 1}, ${values.join(", ")})`;
  });
  return `create table v (id int primary key, ${columns.join(", ")}); insert into v values ${
    rows.join(",\n")
  }`;
}

/** Types that join rows here. */
function joining(types: ReadonlyMap<string, readonly string[]>): string[] {
  return [...types.keys()].filter((type) => !WITHOUT_ORDER.has(type));
}

function childTables(types: readonly string[]): string {
  return types.map((type) =>
    `create table "of_${type}" (id int primary key, k ${declared(type)}, t text);
     insert into "of_${type}" select id, "${type}", 't' from v where id <= 2`
  ).join(";\n");
}

for (const major of [17, 15] as const) {
  describe(`Values of every built-in type, under settings that are not ours, PostgreSQL ${major}`, () => {
    it("arrive as to_json prints them, by the load and by the stream, and join rows to documents", async () => {
      const types = await typesOf(major);
      const links = joining(types);
      const children = links.map((type) =>
        `  - {table: "of_${type}", columns: [id, t], relationship: {variant: object, type: one_to_many, foreign_key: {parent: ["${type}"], child: [k]}}}`
      );
      const opaque = ["json", "jsons", "jsonb", "jsonbs"].map((name) =>
        `${name}: {type: object, enabled: false}`
      );
      const nodes = `\ntable: v\ntransform: {mapping: {${opaque.join(", ")}}}\nchildren:\n${
        children.join("\n")
      }`;
      await using bench = await Bench.open(
        major,
        `${tableOfAll(types)};\n${childTables(links)};\n${SET_HOSTILE}`,
        nodes,
      );
      bench.start();
      await bench.assertSettled("after the load");
      await assertFormsAgree(bench);
      const turn = [...types.keys()].map((type) => `"${type}" = o."${type}", "${type}s" = o."${type}s"`);
      await bench.write(`update v set ${turn.join(", ")} from v o where o.id = v.id % ${ROWS} + 1`);
      await bench.assertSettled("each row has the values of the next");
      await bench.write(links.map((type) => `update "of_${type}" set t = 'T' where id = 1`).join(";"));
      await bench.assertSettled("each child changed");
      await bench.write(
        links.map((type) =>
          `update "of_${type}" set k = (select k from "of_${type}" where id = 2) where id = 1`
        )
          .join(";"),
      );
      await bench.assertSettled("each child moved");
      await bench.write(links.map((type) => `delete from "of_${type}" where id = 2`).join(";"));
      await bench.assertSettled("children went");
    });

    it("join nothing where they have no order, which is told at once", async () => {
      for (const type of WITHOUT_ORDER) {
        await using bench = await Bench.open(
          major,
          `create table a (id int primary key, k ${type}); create table b (id int primary key, k ${type})`,
          "\ntable: a\nchildren:\n  - {table: b, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [k], child: [k]}}}",
        );
        await assert.rejects(planRun(bench.options), { code: "SCHEMA_INVALID" }, type);
      }
    });

    it("make an _id of thirty of them", async () => {
      const types = await typesOf(major);
      const columns = KEY_TYPES.map((type) => `"${type}" ${declared(type)}`).join(", ");
      const names = KEY_TYPES.map((type) => `"${type}"`).join(", ");
      const row = (at: number) =>
        KEY_TYPES.map((type) => valueAt(type, types.get(type) ?? [], at)).join(", ");
      await using bench = await Bench.open(
        major,
        `create table parent (${columns}, t text, primary key (${names}));
         create table child (id int primary key, ${columns}, foreign key (${names}) references parent on update cascade);
         insert into parent values (${row(0)}, 'a'), (${row(1)}, 'b');
         insert into child select 1, ${names} from parent where t = 'a'; ${SET_HOSTILE}`,
        "\ntable: parent\nchildren:\n  - {table: child, columns: [id], relationship: {variant: scalar, type: one_to_many}}",
      );
      bench.start();
      await bench.assertSettled("after the load");
      await assertFormsAgree(bench);
      await bench.write(`insert into child select 2, ${names} from parent where t = 'b'`);
      await bench.assertSettled("a child came");
      await bench.write("update parent set t = t || '!'");
      await bench.assertSettled("roots changed");
      await bench.write(
        `update parent set "timestamptz" = '2001-01-01 00:00:00.5+00', "int4" = 7, "interval" = '1 mon' where t = 'a!'`,
      );
      await bench.assertSettled("a key changed, and its child's with it");
      await bench.write("delete from child where id = 1; delete from parent where t = 'a!'");
      await bench.assertSettled("a root went");
    });
  });
}
