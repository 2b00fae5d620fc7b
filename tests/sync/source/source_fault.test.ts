import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PublicationState } from "../../../src/replication/publication.ts";
import { sourceFault, type TableOid } from "../../../src/sync/source/source_fault.ts";

const PUBLICATION: PublicationState = {
  name: "shop",
  allTables: false,
  tables: [{ schema: "public", table: "book" }, { schema: "public", table: "rating" }],
  partial: false,
  allOperations: true,
  viaRoot: true,
  generatedColumns: null,
};
const BOOK: TableOid = { schema: "public", table: "book", oid: 1 };
const RATING: TableOid = { schema: "public", table: "rating", oid: 2 };
const TABLES = [BOOK, RATING];

describe("what the stream no longer tells of", () => {
  const fault = (now: readonly TableOid[], publication: PublicationState | null = PUBLICATION) => {
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

  it("not a table that was made again, where a publication of all tables holds it, too", () => {
    const all = { ...PUBLICATION, tables: [], allTables: true };
    assert.equal(fault([{ ...BOOK, oid: 9 }, RATING], all), null);
    assert.deepEqual(fault([{ ...BOOK, oid: null }, RATING], all), ["SOURCE_CHANGED", ["book"]]);
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
