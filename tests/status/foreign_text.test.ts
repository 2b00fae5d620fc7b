import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { shortened } from "../../src/status/foreign_text.ts";

test("a text is cut to a length, with a mark, and not in the middle of a character", () => {
  assert.equal(shortened("abc", 3), "abc");
  assert.equal(shortened("abcd", 3), "abc…");
  assert.equal(shortened("ab😀", 3), "ab…");
  assert.equal(shortened("a😀b", 3), "a😀…");
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), fc.nat(20), (text, longest) => {
    const cut = shortened(text, longest);
    assert.ok(cut.length <= longest + 1 && cut.isWellFormed());
  }));
});
