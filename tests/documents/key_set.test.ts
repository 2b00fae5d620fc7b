import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { KeySet } from "../../src/documents/key_set.ts";
import { joinKey } from "../../src/documents/root_keys.ts";

/** Keys as PostgreSQL's texts make them: of one to three columns, few different ones, so that many come again. */
const keys = fc.array(
  fc.array(fc.oneof(fc.nat(50).map(String), fc.string({ unit: "binary", maxLength: 3 }), fc.string()), {
    minLength: 1,
    maxLength: 3,
  }).map((values) => joinKey(values.map((value) => value.toWellFormed()))),
  { maxLength: 200 },
);

describe("A set of keys", () => {
  it("holds what a Set of strings holds, in the same order", () => {
    fc.assert(fc.property(keys, keys, (added, others) => {
      const found = new KeySet();
      const expected = new Set<string>();
      for (const key of added) {
        assert.equal(found.add(key), !expected.has(key));
        expected.add(key);
      }
      for (const key of [...added, ...others]) assert.equal(found.has(key), expected.has(key));
      assert.equal(found.size, expected.size);
      assert.deepEqual([...found], [...expected]);
    }));
  });

  it("gives its keys in pages of the length asked for", () => {
    fc.assert(fc.property(keys, fc.integer({ min: 1, max: 300 }), (added, length) => {
      const found = new KeySet();
      for (const key of added) found.add(key);
      const pages = [...found.pages(length)];
      assert.deepEqual(pages.flat(), [...found]);
      assert.ok(pages.slice(0, -1).every((page) => page.length === length));
      assert.ok(pages.every((page) => page.length > 0));
    }));
  });

  it("is empty once it is cleared, and takes keys again", () => {
    fc.assert(fc.property(keys, keys, (before, after) => {
      const found = new KeySet();
      for (const key of before) found.add(key);
      found.clear();
      assert.equal(found.size, 0);
      for (const key of before) assert.equal(found.has(key), false);
      for (const key of after) found.add(key);
      assert.deepEqual([...found], [...new Set(after)]);
    }));
  });

  it("takes little more than the texts of its keys", () => {
    const found = new KeySet();
    for (let number = 0; number < 300_000; number++) found.add(String(number));
    assert.equal(found.size, 300_000);
    assert.ok(found.bytes < 10_000_000, `${found.bytes} bytes`);
    assert.ok(new KeySet().bytes < 200, "an empty one is nearly nothing");
  });
});
