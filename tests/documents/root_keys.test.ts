import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { joinKey, keyColumns } from "../../src/documents/root_keys.ts";

describe("root keys", () => {
  it("become columns again, whatever the values hold but NUL", () => {
    const value = fc.string().map((text) => text.replaceAll("\0", ""));
    const keys = fc.integer({ min: 1, max: 4 })
      .chain((width) =>
        fc.tuple(fc.constant(width), fc.array(fc.array(value, { minLength: width, maxLength: width })))
      );
    fc.assert(fc.property(keys, ([width, rows]) => {
      const columns = keyColumns(rows.map(joinKey), width);
      assert.equal(columns.length, width);
      assert.deepEqual(columns, Array.from({ length: width }, (_, at) => rows.map((row) => row[at])));
    }));
  });
});
