import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import postgres from "postgres";
import { arrayLiteral } from "../../src/postgres/array.ts";
import { usePostgres } from "../support/postgres.ts";

describe("an array literal", () => {
  let sql: postgres.Sql;
  before(async () => void (sql = postgres((await usePostgres()).url, { max: 1 })));
  after(() => sql.end());

  it("quotes every element, so that none is read as NULL", () => {
    assert.equal(
      arrayLiteral(["NULL", "", 'a"b', "a\\b", "a,b {c}"]),
      '{"NULL","","a\\"b","a\\\\b","a,b {c}"}',
    );
    assert.equal(arrayLiteral([]), "{}");
  });

  it("is read by PostgreSQL as the texts it was made of", async () => {
    const text = fc.string({ unit: "grapheme" }).filter((value) =>
      !value.includes("\0") && value.isWellFormed()
    );
    await fc.assert(fc.asyncProperty(fc.array(text), async (values) => {
      const [row] = await sql.unsafe("select $1::text::text[] as values", [arrayLiteral(values)]);
      assert.deepEqual(row?.["values"], values);
    }));
  });
});
