import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { editDistance, nearest } from "../../src/schema/suggest.ts";

const DISTANCES = [["", "", 0], ["a", "", 1], ["kitten", "sitting", 3], ["lable", "label", 1], [
  "ab",
  "ba",
  1,
]] as const;

for (const [a, b, distance] of DISTANCES) {
  test(`"${a}" and "${b}" are ${distance} edits apart`, () => assert.equal(editDistance(a, b), distance));
}

test("the distance is symmetric, zero for equal words only, and never more than the longer word", () => {
  const word = fc.string({ maxLength: 8 });
  fc.assert(fc.property(word, word, (a, b) => {
    const distance = editDistance(a, b);
    assert.equal(distance, editDistance(b, a));
    assert.equal(distance === 0, a === b);
    assert.ok(distance <= Math.max(a.length, b.length));
    assert.ok(distance >= Math.abs(a.length - b.length));
  }));
});

const KEYS = [
  "table",
  "schema",
  "columns",
  "label",
  "primary_key",
  "base_tables",
  "children",
  "relationship",
];
const SUGGESTIONS = [
  ["colums", "columns"],
  ["lable", "label"],
  ["PrimaryKey", "primary_key"],
  ["primary-key", "primary_key"],
  ["relation", null],
  ["x", null],
  ["", null],
  ["where", null],
] as const;

for (const [word, suggestion] of SUGGESTIONS) {
  test(`"${word}" suggests ${suggestion ?? "nothing"}`, () => assert.equal(nearest(word, KEYS), suggestion));
}
