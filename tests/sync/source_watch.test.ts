import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PublicationState } from "../../src/replication/publication.ts";
import { leafChanges, sourceFault, type SourceTable, sourceTable } from "../../src/sync/source_watch.ts";
import { table } from "./shop.ts";

const PUBLICATION: PublicationState = {
  name: "shop",
  allTables: false,
  tables: [{ schema: "public", table: "book" }, { schema: "public", table: "rating" }],
  partial: false,
  allOperations: true,
  viaRoot: true,
};
const BOOK: SourceTable = { schema: "public", table: "book", oid: 1, leaves: new Map() };
const RATING: SourceTable = {
  schema: "public",
  table: "rating",
  oid: 2,
  leaves: new Map([[21, 210], [22, 220]]),
};
const TABLES = [BOOK, RATING];

describe("what the stream no longer tells of", () => {
  const fault = (now: readonly SourceTable[], publication: PublicationState | null = PUBLICATION) => {
    const found = sourceFault(TABLES, now, publication, "shop");
    return found === null ? null : [found.error.code, found.tables.map((table) => table.table)];
  };

  it("nothing, while tables and publication stay as they were", () => {
    assert.equal(fault(TABLES), null);
    assert.equal(fault(TABLES, { ...PUBLICATION, tables: [], allTables: true }), null);
  });

  it("a table that is gone, or whose name belongs to another now", () => {
    assert.deepEqual(fault([BOOK, { ...RATING, oid: null }]), ["SOURCE_CHANGED", ["rating"]]);
    assert.deepEqual(fault([{ ...BOOK, oid: 9 }, RATING]), ["SOURCE_CHANGED", ["book"]]);
  });

  it("a table that was made again, though a publication of all tables holds it", () => {
    const all = { ...PUBLICATION, tables: [], allTables: true };
    assert.deepEqual(fault([{ ...BOOK, oid: 9 }, RATING], all), ["SOURCE_CHANGED", ["book"]]);
  });

  it("a table that the publication has lost", () => {
    const [book] = PUBLICATION.tables;
    const publication = { ...PUBLICATION, tables: book === undefined ? [] : [book] };
    assert.deepEqual(fault(TABLES, publication), ["PUBLICATION_MISSING", ["rating"]]);
  });

  it("all tables, where the publication is gone or leaves operations out", () => {
    const all = ["PUBLICATION_MISSING", ["book", "rating"]];
    assert.deepEqual(fault(TABLES, null), all);
    assert.deepEqual(fault(TABLES, { ...PUBLICATION, allOperations: false }), all);
    assert.deepEqual(fault(TABLES, { ...PUBLICATION, viaRoot: false }), all);
  });
});

describe("what became of partitions", () => {
  const changes = (...leaves: readonly (readonly [number, number])[]) =>
    leafChanges(RATING, { ...RATING, leaves: new Map(leaves) });

  it("nothing, whatever their order", () => {
    assert.deepEqual(changes([22, 220], [21, 210]), { added: [], rowsLeft: false });
  });

  it("one was made or attached", () => {
    assert.deepEqual(changes([21, 210], [22, 220], [23, 230]), { added: [23], rowsLeft: false });
  });

  it("one was detached or dropped", () => {
    assert.deepEqual(changes([21, 210]), { added: [], rowsLeft: true });
  });

  it("one was truncated, which gives it another file", () => {
    assert.deepEqual(changes([21, 211], [22, 220]), { added: [], rowsLeft: true });
  });
});

describe("a table as the run found it", () => {
  it("has leaves only where it is partitioned: what else is truncated is in the stream, and a rewrite moves no rows", () => {
    const book = table("book", { id: "int4" }, { key: ["id"] });
    assert.deepEqual([...sourceTable(book).leaves], []);
    assert.deepEqual([...sourceTable({ ...book, kind: "partitioned" }).leaves], [[book.oid, book.oid]]);
  });
});
