import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { connectPostgres, type Sql } from "../../src/postgres/connect.ts";
import { quoteIdentifier, quoteLiteral, quoteQualified } from "../../src/postgres/quote.ts";
import { usePostgres } from "../support/postgres.ts";
import { optionsOf } from "./options.ts";

let sql: Sql;

before(async () => {
  const { url } = await usePostgres();
  sql = connectPostgres(optionsOf(url), { database: "postgres", purpose: "test", max: 1, kind: "builder" });
});
after(() => sql.end({ timeout: 1 }));

const storable = fc.string({ unit: "binary" }).filter((text) => !text.includes("\0"));

test("identifiers are always quoted", () => {
  assert.equal(quoteIdentifier("book"), '"book"');
  assert.equal(quoteIdentifier('a "b".c'), '"a ""b"".c"');
  assert.equal(quoteQualified({ schema: "public", table: "Order" }), '"public"."Order"');
});

test("literals take the E'' form only where there is a backslash", () => {
  assert.equal(quoteLiteral("O'Hara"), "'O''Hara'");
  assert.equal(quoteLiteral("a\\b'"), " E'a\\\\b'''");
});

test("what PostgreSQL cannot store is refused", () => {
  assert.throws(() => quoteIdentifier(""), RangeError);
  assert.throws(() => quoteIdentifier("a\0b"), RangeError);
  assert.throws(() => quoteLiteral("a\0b"), RangeError);
  assert.throws(() => quoteLiteral("\ud83d"), RangeError);
});

for (const conforming of ["on", "off"]) {
  test(`any text comes back from the server as it was (standard_conforming_strings ${conforming})`, async () => {
    await sql.unsafe(`SET standard_conforming_strings = ${conforming}`);
    await fc.assert(
      fc.asyncProperty(fc.array(storable, { minLength: 1, maxLength: 20 }), async (texts) => {
        const rows = await sql.unsafe(`SELECT ${texts.map((text) => `${quoteLiteral(text)} AS x`)}`).values();
        assert.deepEqual(rows[0], texts);
      }),
      { numRuns: 50 },
    );
  });
}

test("any short text can name a column", async () => {
  // Names are cut at 63 bytes, so these have at most 15 characters of 4.
  const name = fc.string({ unit: "binary", minLength: 1, maxLength: 15 }).filter((text) =>
    !text.includes("\0")
  );
  await fc.assert(
    fc.asyncProperty(name, async (text) => {
      const result = await sql.unsafe(`SELECT 1 AS ${quoteIdentifier(text)}`);
      assert.deepEqual(result.columns.map((column) => column.name), [text]);
    }),
    { numRuns: 100 },
  );
});
