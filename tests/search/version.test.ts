import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { documentVersion, type VersionParts, versionParts } from "../../src/search/version.ts";

const parts: fc.Arbitrary<VersionParts> = fc.record({
  timeline: fc.integer({ min: 1, max: 4095 }),
  lsn: fc.bigInt({ min: 0n, max: (1n << 50n) - 1n }),
  fromStream: fc.boolean(),
}, { noNullPrototype: true });

test("timeline, then LSN, then stream over load decide which version is newer", () => {
  const rank = ({ timeline, lsn, fromStream }: VersionParts) => [BigInt(timeline), lsn, fromStream ? 1n : 0n];
  const compare = (left: bigint[], right: bigint[]) => {
    const place = left.findIndex((value, index) => value !== right[index]);
    return place === -1 ? 0 : (left[place] ?? 0n) < (right[place] ?? 0n) ? -1 : 1;
  };
  fc.assert(fc.property(parts, parts, (a, b) => {
    const [left, right] = [documentVersion(a), documentVersion(b)];
    assert.equal(left < right ? -1 : left > right ? 1 : 0, compare(rank(a), rank(b)));
  }));
  const lsn = 0x16_B374D848n;
  const load = documentVersion({ timeline: 1, lsn, fromStream: false });
  assert.ok(documentVersion({ timeline: 1, lsn, fromStream: true }) > load);
  assert.ok(documentVersion({ timeline: 1, lsn: lsn + 1n, fromStream: false }) > load + 1n);
  assert.ok(documentVersion({ timeline: 2, lsn: 0n, fromStream: false }) > load);
});

test("a version fits into a signed 64-bit number and gives its parts back", () => {
  fc.assert(fc.property(parts, (value) => {
    const version = documentVersion(value);
    assert.ok(version >= 0n && version < 1n << 63n);
    assert.deepEqual(versionParts(version), value);
  }));
});

test("what does not fit is an error, never another version", () => {
  assert.throws(() => documentVersion({ timeline: 1, lsn: 1n << 50n, fromStream: false }), RangeError);
  assert.throws(() => documentVersion({ timeline: 4096, lsn: 0n, fromStream: false }), RangeError);
  assert.throws(() => documentVersion({ timeline: 0, lsn: 0n, fromStream: false }), RangeError);
  assert.throws(() => documentVersion({ timeline: 1, lsn: -1n, fromStream: false }), RangeError);
});
