import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import postgres from "postgres";
import { normalisedJsonSql, objectSql } from "../../src/mapping/json_sql.ts";
import { usePostgres } from "../support/postgres.ts";

describe("a JSON object in SQL", () => {
  let sql: postgres.Sql;
  before(async () => void (sql = postgres((await usePostgres()).url, { max: 1 })));
  after(() => sql.end());

  async function text(expression: string): Promise<string> {
    const [row] = await sql.unsafe(`select (${expression})::text as text`);
    return String(row?.["text"]);
  }

  it("without members is empty", async () => assert.equal(await text(objectSql([])), "{}"));

  it("has its members in their order, whatever their names and however many", async () => {
    const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 80 })
      .filter((value) => !value.includes("\0") && value.isWellFormed());
    const names = fc.oneof(
      fc.uniqueArray(name, { maxLength: 5 }),
      fc.uniqueArray(name, { minLength: 49, maxLength: 160, size: "max" }),
      fc.constant(["row", "row_", "json"]),
    );
    await fc.assert(
      fc.asyncProperty(names, async (members) => {
        const object = await text(
          objectSql(members.map((member, at) => ({ name: member, sql: String(at) }))),
        );
        assert.deepEqual(
          JSON.parse(object, (_, value) => value instanceof Object ? Object.entries(value) : value),
          Object.entries(
            JSON.parse(JSON.stringify(Object.fromEntries(members.map((member, at) => [member, at])))),
          ),
        );
      }),
      { numRuns: 40 },
    );
  });

  it("is the same over a table that has a column of the row's alias", async () => {
    for (const name of ["row", "row_", "x"]) {
      const object = objectSql([{ name: "id", sql: `t."${name}"` }]);
      const [row] = await sql.unsafe(`select ${object}::text as text from (select 1 as "${name}") t`);
      assert.equal(row?.["text"], '{"id":1}', name);
    }
  });

  it("keeps digits, nulls and nested objects, also with names too long for an identifier", async () => {
    const members = [{ name: "n", sql: "1.50::numeric" }, {
      name: "o",
      sql: objectSql([{ name: "x", sql: "null::int" }]),
    }];
    assert.equal(await text(objectSql(members)), '{"n":1.50,"o":{"x":null}}');
    const long = "x".repeat(64);
    const built = await text(objectSql([...members, { name: long, sql: "9007199254740993" }]));
    assert.equal(built.replaceAll(" ", ""), `{"n":1.50,"o":{"x":null},"${long}":9007199254740993}`);
  });

  it("normalises json: keys once, no line breaks, and what jsonb refuses is kept", async () => {
    const normal = (json: string) => text(normalisedJsonSql(`$tag$${json}$tag$::json`));
    assert.equal(await normal('{"b": 1,\n"a": 2, "b": 3}'), '{"a": 2, "b": 3}');
    assert.equal(await normal('{"a":\n"\\u0000"}'), '{"a": "\\u0000"}');
    assert.equal(await normal('["\\ud83d"]'), '["\\ud83d"]');
    assert.equal(await text(normalisedJsonSql("null::json")), "null");
  });
});
