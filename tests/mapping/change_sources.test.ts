import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { changeSources } from "../../src/mapping/change_sources.ts";
import { node } from "./fixtures.ts";
import { BOOKS, mapped } from "../sync/shop.ts";

const sources = changeSources(mapped(BOOKS));
const [
  book = assert.fail(),
  publisher = assert.fail(),
  rating = assert.fail(),
  link = assert.fail(),
  author = assert.fail(),
] = sources;

// That the statements find every document is shown on real tables: tests/integration.
describe("Change sources", () => {
  it("are the root, each node, and each link table", () => {
    const roles = sources.map(({ role, relation, linkColumns }) =>
      `${role} ${relation.table} (${linkColumns.map((column) => column.name)})`
    );
    assert.deepEqual(roles, [
      "root book (id)",
      "node publisher (id)",
      "node rating (book_id)",
      "link book_author (book_id)",
      "node author (id)",
    ]);
  });

  it("need no query where the link values are the root key", () => {
    assert.deepEqual(sources.map((source) => source.sql === null), [true, false, true, true, false]);
  });

  it("climb by joins from the link values to the root", () => {
    assert.match(publisher.sql ?? "", /unnest\(\$1::int4\[\]\).*\n.*"book" n0 ON n0."publisher_id" = k.k1/s);
    assert.match(
      author.sql ?? "",
      /"book_author" ln3 ON ln3."author_id" = k.k1\n.*"book" n0 ON n0."id" = ln3."book_id"/s,
    );
  });

  it("use the columns that are shown, that link, and that order siblings; no others", () => {
    assert.deepEqual([...book.usedColumns].toSorted(), ["id", "publisher_id", "title"]);
    assert.deepEqual([...publisher.usedColumns].toSorted(), ["id", "name"]);
    assert.deepEqual([...rating.usedColumns].toSorted(), ["book_id", "id", "value"]);
    assert.deepEqual([...link.usedColumns].toSorted(), ["author_id", "book_id"]);
  });

  it("of the same table in two places are two", () => {
    const twice = node("book", {
      children: [node("rating", { relationship: {} }), node("rating", { label: "again", relationship: {} })],
    });
    assert.deepEqual(changeSources(mapped(twice)).map((source) => source.node.path), [
      "book",
      "rating",
      "again",
    ]);
  });
});
