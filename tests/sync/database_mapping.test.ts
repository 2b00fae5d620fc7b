import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { byDatabase, mapDatabase, namedTables, slotName } from "../../src/sync/database_mapping.ts";
import type { JsonObject } from "../../src/schema/tree.ts";
import { schemaHash } from "../../src/documents/index_setup.ts";
import { node, PLACE } from "../mapping/fixtures.ts";
import { BOOKS, documentOf, SHOP } from "./shop.ts";

describe("The slot of a database", () => {
  it("is named after it", () => assert.equal(slotName(null, "shop_1"), "pgsync_shop_1"));

  it("has a hash where the name cannot hold the database's, so that two never meet", () => {
    const names = ["Shop", "shop", "sh-op", "sh_op", "x".repeat(80), "x".repeat(81)].map((name) =>
      slotName(null, name)
    );
    assert.equal(new Set(names).size, names.length);
    for (const name of names) assert.match(name, /^[a-z0-9_]{1,63}$/);
  });

  it("may be given, if it is a slot's name", () => {
    assert.equal(slotName("mine", "shop"), "mine");
    assert.throws(
      () => slotName("Mine!", "shop"),
      (error) => error instanceof PgsyncError && error.code === "USAGE",
    );
  });
});

describe("The schema hash", () => {
  it("changes with what the file says, not with where it stands", () => {
    const document = documentOf(BOOKS);
    assert.equal(schemaHash({ ...document, place: { ...PLACE, line: 99 } }), schemaHash(document));
    assert.notEqual(schemaHash({ ...document, pipeline: "p" }), schemaHash(document));
    assert.notEqual(schemaHash(documentOf({ ...BOOKS, columns: ["id"] })), schemaHash(document));
  });

  it("counts a field that is called place", () => {
    const renamed = (rename: JsonObject) =>
      schemaHash(documentOf({ ...BOOKS, transform: { ...BOOKS.transform, rename } }));
    assert.notEqual(renamed({ place: "city" }), renamed({ place: "town" }));
    const mapped = (mapping: JsonObject) => schemaHash({ ...documentOf(BOOKS), mapping });
    assert.notEqual(mapped({ place: { type: "text" } }), mapped({ place: { type: "keyword" } }));
  });
});

describe("A database's mapping", () => {
  it("names every table, link tables too, and follows each once", () => {
    assert.deepEqual(namedTables([documentOf(BOOKS)]).map((name) => name.table), [
      "book",
      "publisher",
      "rating",
      "author",
      "book_author",
    ]);
    const { tables } = mapDatabase([documentOf(BOOKS), documentOf(node("author"))], SHOP);
    assert.deepEqual(tables.map((table) => table.table), [
      "book",
      "publisher",
      "rating",
      "book_author",
      "author",
    ]);
  });

  it("groups documents by database in the order of the file", () => {
    const other = { ...documentOf(BOOKS), database: "other" };
    const groups = byDatabase([documentOf(BOOKS), other, documentOf(node("author"))]);
    assert.deepEqual([...groups].map(([database, documents]) => [database, documents.length]), [["shop", 2], [
      "other",
      1,
    ]]);
  });
});
