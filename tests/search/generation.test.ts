import assert from "node:assert/strict";
import { test } from "node:test";
import { checkIndexName, generationName, isGenerationOf, writeAlias } from "../../src/search/generation.ts";
import { indexLevel } from "../../src/search/index.ts";

test("a generation is named by its alias and the time of its creation", () => {
  const name = generationName("books", new Date("2026-07-28T10:15:02.123Z"));
  assert.equal(name, "books_20260728101502123");
  assert.equal(writeAlias(name), "books_20260728101502123_WRITE");
});

test("only names of that form may be ours", () => {
  assert.ok(isGenerationOf("books", "books_20260728101502123"));
  assert.ok(!isGenerationOf("books", "books"));
  assert.ok(!isGenerationOf("books", "books_archive"));
  assert.ok(!isGenerationOf("books", "books_archive_20260728101502123"));
  assert.ok(!isGenerationOf("book", "books_20260728101502123"));
});

test("a name that would reach other indices is refused", () => {
  for (const name of ["*", "books,users", "_all", "books*", "../users", "Books", ""]) {
    assert.throws(() => checkIndexName(name), { code: "SCHEMA_INVALID" });
  }
  checkIndexName("books.v2-日本");
});

test("settings may be written with or without the level index", () => {
  const flat = { number_of_shards: 2, refresh_interval: "5s", analysis: { analyzer: {} } };
  assert.deepEqual(indexLevel(flat), flat);
  assert.deepEqual(
    indexLevel({ index: { number_of_shards: 2, refresh_interval: "5s" }, analysis: { analyzer: {} } }),
    flat,
  );
  assert.deepEqual(
    indexLevel({ "index.number_of_shards": 2, "index.refresh_interval": "5s", analysis: { analyzer: {} } }),
    flat,
  );
  assert.deepEqual(indexLevel(null), {});
});
