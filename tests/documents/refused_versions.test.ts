import assert from "node:assert/strict";
import { test } from "node:test";
import { RefusedVersions } from "../../src/documents/refused_versions.ts";

test("what is older than what was refused does not settle it, what is as old or newer does", () => {
  const refused = new RefusedVersions();
  refused.add("1", 5n);
  refused.add("1", 4n);
  assert.deepEqual([refused.settles("1", 4n), refused.settles("2", 1n)], [false, true]);
  assert.deepEqual([refused.settles("1", 5n), refused.size, refused.settles("1", 1n)], [true, 0, true]);
});

test("refusals are forgotten in time, the oldest first", () => {
  let now = 0;
  const refused = new RefusedVersions(() => now);
  refused.add("1", 5n);
  refused.add("2", 5n);
  now = 10 * 60_000;
  refused.add("1", 6n);
  now = 20 * 60_000;
  refused.add("3", 5n);
  assert.deepEqual([refused.size, refused.settles("2", 1n), refused.settles("1", 1n)], [2, true, false]);
});
