import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { mapDocument } from "../../src/mapping/tree.ts";
import { BOOK, BOOKS, documentOf, mapped, RATING, SHOP, table } from "../sync/shop.ts";
import { catalogOf, node } from "./fixtures.ts";

function code(expected: string): (error: unknown) => boolean {
  return (error) => error instanceof PgsyncError && error.code === expected;
}

describe("A mapped document", () => {
  it("lists its nodes, each before its children, with paths by label and aliases in order", () => {
    const nested = node("book", {
      children: [
        node("rating", {
          label: "r",
          relationship: {},
          children: [node("book", { label: "b", relationship: { type: "one_to_one" } })],
        }),
      ],
    });
    const { nodes } = mapped(nested);
    assert.deepEqual(nodes.map(({ path, alias }) => `${alias} ${path}`), ["n0 book", "n1 r", "n2 r.b"]);
    assert.equal(nodes[2]?.parent, nodes[1]);
  });

  it("has its root's primary key by column name, by code points as Python sorts", () => {
    const many = table("t", { "\u{1F600}": "int4", "\uFF5E": "int4", b: "int4", B: "int4" }, {
      key: ["\u{1F600}", "b", "\uFF5E", "B"],
    });
    assert.deepEqual(mapped(node("t"), catalogOf(many)).key.map((column) => column.name), [
      "B",
      "b",
      "\uFF5E",
      "\u{1F600}",
    ]);
  });

  it("names its children's fields by their labels", () => {
    assert.deepEqual(mapped(BOOKS).root.children.map((child) => child.field), [
      "publisher",
      "rating",
      "author",
    ]);
  });
});

describe("A document cannot be mapped", () => {
  it("to a table that does not exist, a foreign table, or a root without a key", () => {
    assert.throws(() => mapDocument(documentOf(node("nowhere")), SHOP), code("TABLE_MISSING"));
    assert.throws(
      () => mapDocument(documentOf(node("book")), catalogOf({ ...BOOK, kind: "foreign table" })),
      code("SCHEMA_UNSUPPORTED"),
    );
    assert.throws(
      () => mapDocument(documentOf(node("book")), catalogOf({ ...BOOK, kind: "view" })),
      code("PRIMARY_KEY_MISSING"),
    );
    const keyless = catalogOf({ ...RATING, primaryKey: [] });
    assert.throws(() => mapDocument(documentOf(node("rating")), keyless), code("PRIMARY_KEY_MISSING"));
  });
});
