import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import postgres from "postgres";
import type { Column } from "../../src/catalog/types.ts";
import { idSql, joinId, splitId } from "../../src/mapping/id_sql.ts";
import { usePostgres } from "../support/postgres.ts";
import { relation } from "./fixtures.ts";

/** Texts in which the characters that matter are frequent. */
const part = fc.string({ unit: fc.constantFrom("|", "\\", "a", "1", "'", " ", "é", "😀"), maxLength: 6 });

function columns(types: Readonly<Record<string, string>>): Column[] {
  return [...relation("t", types).columns];
}

describe("an _id", () => {
  let sql: postgres.Sql;
  before(async () => void (sql = postgres((await usePostgres()).url, { max: 1 })));
  after(() => sql.end());

  /** Lets PostgreSQL make the id of values, each cast to its column's type. */
  async function idOf(key: readonly Column[], values: readonly string[]): Promise<unknown> {
    const parts = key.map((column, at) => ({ column, sql: `$${at + 1}::text::${column.type.sql}` }));
    const [row] = await sql.unsafe(`select ${idSql(parts)} as id`, [...values]);
    return row?.["id"];
  }

  it("is the key's value, or its values joined with |", async () => {
    assert.equal(await idOf(columns({ a: "text" }), ["x|y\\"]), "x|y\\");
    assert.equal(
      await idOf(columns({ a: "text", b: "int4", c: "uuid" }), [
        "x\\",
        "7",
        "00000000-0000-0000-0000-00000000000A",
      ]),
      "x\\|7|00000000-0000-0000-0000-00000000000a",
    );
  });

  it("escapes | and \\ in all values where one of several holds |", async () => {
    assert.equal(await idOf(columns({ a: "text", b: "text" }), ["x|y", "\\"]), "x\\|y|\\\\");
  });

  it("keeps the padding of char(n)", async () => {
    const [row] = await sql.unsafe(
      `select ${
        idSql([{ column: columns({ a: "bpchar" })[0] ?? assert.fail(), sql: "'ab'::char(5)" }])
      } as id`,
    );
    assert.equal(row?.["id"], "ab   ");
  });

  it("gives the key's values back, made by PostgreSQL", async () => {
    const values = fc.array(part, { minLength: 1, maxLength: 4 });
    await fc.assert(fc.asyncProperty(values, async (texts) => {
      const key = columns(Object.fromEntries(texts.map((_, at) => [`c${at}`, "text"])));
      const id = await idOf(key, texts);
      assert.deepEqual(splitId(String(id), texts.length), texts);
      assert.equal(joinId(texts), id);
    }));
  });

  it("of two keys differs where the keys do", async () => {
    const pair = fc.tuple(part, part);
    const key = columns({ a: "text", b: "text" });
    await fc.assert(fc.asyncProperty(pair, pair, async (one, other) => {
      assert.equal(await idOf(key, one) === await idOf(key, other), one.join("\0") === other.join("\0"));
    }));
  });

  it("that somebody else wrote is no key where it cannot be one", () => {
    assert.equal(splitId("a", 2), null);
    assert.equal(splitId("a|b|c", 2), null);
    assert.equal(splitId("a\\x|b|c", 2), null);
    assert.deepEqual(splitId("a|b", 1), ["a|b"]);
  });
});
