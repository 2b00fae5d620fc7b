import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { TableState } from "../../../src/catalog/table_state.ts";
import type { Relation } from "../../../src/catalog/types.ts";
import {
  type DocumentSource,
  documentSource,
  readSource,
  sourceChange,
  writeSource,
} from "../../../src/sync/source/document_source.ts";
import { AUTHOR, BOOK, BOOK_AUTHOR, BOOKS, mapped, PUBLISHER, RATING } from "../shop.ts";

const DOCUMENT = mapped(BOOKS);

function stateOf(relation: Relation): TableState {
  return {
    schema: relation.schema,
    table: relation.table,
    oid: relation.oid,
    namedBy: "600",
    kind: "r",
    hasInheritors: false,
    columns: relation.columns.map(({ name, number, type }) => ({
      name,
      number,
      type: type.oid,
      collation: 0,
      generated: null,
      definedBy: "700",
      definition: "d",
    })),
    rule: "",
    keys: "k",
    foreignKeys: "f",
    identity: "d ",
    composites: "",
    labels: { "90": "sad" },
    filenode: relation.oid,
    writes: 0,
    leaves: {},
    published: "1",
  };
}

const STATES = [BOOK, PUBLISHER, RATING, AUTHOR, BOOK_AUTHOR].map(stateOf);
const SOURCE = documentSource(DOCUMENT, STATES);

/** What becomes of the document where the table of ratings is another. */
function changed(change: (rating: TableState) => Partial<TableState>, from: TableState = stateOf(RATING)) {
  const source = (state: TableState): DocumentSource =>
    documentSource(DOCUMENT, STATES.map((each) => each.table === "rating" ? state : each));
  return sourceChange(DOCUMENT, source(from), source({ ...from, ...change(from) }));
}

function column(name: string, change: Partial<TableState["columns"][number]>) {
  return ({ columns }: TableState) => ({
    columns: columns.map((each) => each.name === name ? { ...each, ...change } : each),
  });
}

describe("What a document is made of", () => {
  it("is the same after a while in the file, and not where it was written otherwise", () => {
    assert.deepEqual(readSource(writeSource(SOURCE)), SOURCE);
    assert.equal(readSource('{"shape":1}'), null);
  });

  it("does not differ by what no document shows", () => {
    for (
      const change of [
        () => ({}),
        () => ({ filenode: 1 }),
        () => ({ keys: "other", foreignKeys: "other", identity: "f " }),
        () => ({ labels: { "90": "sad", "91": "glad" } }),
        column("note", { type: 1, number: 9, definedBy: "800" }),
        column("value", { definedBy: "800", definition: "not null" }),
      ]
    ) assert.deepEqual(changed(change), { kind: "none" });
  });

  it("differs by its columns' numbers, types and generation, by the table, and by composite types", () => {
    for (
      const change of [
        column("value", { number: 9 }),
        column("book_id", { type: 20 }),
        column("value", { generated: "x" }),
        () => ({ oid: 1 }),
        () => ({ composites: "x" }),
      ]
    ) assert.deepEqual(changed(change), { kind: "shape" });
  });

  it("has other rows after a rewrite that defined a column anew, or one that names changed hands", () => {
    const rows = { kind: "rows", tables: ["rating"] };
    const told = (change: (rating: TableState) => Partial<TableState>) => {
      const found = changed(change);
      return found.kind === "rows" ? { ...found, tables: found.tables.map(({ table }) => table) } : found;
    };
    assert.deepEqual(
      told((state) => ({
        ...column("value", { definedBy: "800", definition: "other" })(state),
        filenode: 1,
      })),
      rows,
    );
    assert.deepEqual(told(column("book_id", { definedBy: "800" })), rows);
    assert.deepEqual(told(() => ({ labels: { "90": "blue" } })), rows);
    // Something was changed, and changed back.
    assert.deepEqual(told(column("value", { definedBy: "800" })), rows);
    assert.deepEqual(told(column("note", { definedBy: "800" })), { kind: "none" });
    assert.deepEqual(told(() => ({ namedBy: "800" })), rows);
    // It was out of the publication for a while.
    assert.deepEqual(told(() => ({ published: "2" })), rows);
  });
});

describe("What became of partitions", () => {
  const from: TableState = { ...stateOf(RATING), kind: "p", leaves: { "21": "210 7", "22": "220 7" } };
  const leaves = (leaves: Record<string, string>) => changed(() => ({ leaves }), from);

  it("nothing, whatever their order", () => {
    assert.deepEqual(leaves({ "22": "220 7", "21": "210 7" }), { kind: "none" });
  });

  it("one was made or attached", () => {
    const found = leaves({ "21": "210 7", "22": "220 7", "23": "230 7" });
    assert.deepEqual(found.kind === "leaves" && found.leaves, [23]);
  });

  it("one was detached or dropped, or truncated, which gives it another file", () => {
    assert.equal(leaves({ "21": "210 7" }).kind, "rows");
    assert.equal(leaves({ "21": "211 7", "22": "220 7" }).kind, "rows");
  });
});
