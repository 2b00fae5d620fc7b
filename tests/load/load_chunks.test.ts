import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Heap, Relation } from "../../src/catalog/types.ts";
import { chunkRange, keyChunks, pageChunks, storageFingerprint } from "../../src/load/load_chunks.ts";
import { relation } from "../mapping/fixtures.ts";

function table(heaps: readonly Partial<Heap>[], estimatedRows = 0): Relation {
  return {
    ...relation("t", { id: "int4" }, { key: ["id"] }),
    estimatedRows,
    heaps: heaps.map((heap, at) => ({
      schema: "public",
      table: `t${at}`,
      oid: 100 + at,
      filenode: 200 + at,
      pages: 0,
      estimatedRows: 0,
      replicaIdentity: { kind: "default", columns: ["id"] },
      tidRange: true,
      ...heap,
    })),
  };
}

describe("chunks by pages", () => {
  it("cover every page of every leaf exactly once, and have no end", () => {
    const pages = fc.array(fc.nat(500), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(pages, fc.nat(100_000), fc.integer({ min: 1, max: 5_000 }), (sizes, rows, perChunk) => {
        const ranges = pageChunks(table(sizes.map((size) => ({ pages: size })), rows), perChunk).map(
          chunkRange,
        );
        const [only] = ranges;
        if (only?.kind === "whole") return assert.equal(ranges.length, 1);
        let next: number | null = 0;
        for (const range of ranges) {
          assert.ok(range.kind === "pages" && range.from === next);
          assert.ok(range.to === null || range.to > range.from);
          next = range.to;
        }
        assert.equal(next, null, "the last has no end");
      }),
    );
  });

  it("are about as many as the rows ask for, by guess where nothing is known", () => {
    assert.equal(pageChunks(table([{ pages: 1000 }], 100_000), 10_000).length, 10);
    assert.equal(pageChunks(table([{ pages: 1000 }]), 10_000).length, 5);
    assert.equal(pageChunks(table([{ pages: 3 }], 100_000), 10).length, 3);
    assert.equal(pageChunks(table([]), 10).length, 1);
  });
});

describe("chunks by keys", () => {
  it("follow each other without a gap, from no bound to no bound", () => {
    const key = fc.array(fc.string(), { minLength: 1, maxLength: 3 });
    fc.assert(fc.property(fc.array(key), (bounds) => {
      const ranges = keyChunks(table([{}]), bounds).map(chunkRange);
      assert.deepEqual(
        ranges,
        [...bounds, null].map((to, at) => ({ kind: "keys", from: bounds[at - 1] ?? null, to })),
      );
    }));
  });

  it("that are not ours are refused", () => {
    const [chunk = assert.fail()] = keyChunks(table([{}]), []);
    assert.throws(() => chunkRange({ ...chunk, to: "{}" }), RangeError);
    assert.throws(() => chunkRange({ ...chunk, kind: "tid", from: "-1" }), RangeError);
  });
});

describe("the storage fingerprint", () => {
  it("changes with a leaf's file and with the leaves", () => {
    const before = storageFingerprint(table([{}, {}]));
    assert.equal(storageFingerprint(table([{}, {}])), before);
    assert.notEqual(storageFingerprint(table([{}, { filenode: 999 }])), before);
    assert.notEqual(storageFingerprint(table([{}])), before);
  });
});
