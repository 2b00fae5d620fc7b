import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { VersionClock } from "../../src/documents/version_clock.ts";

describe("the version clock", () => {
  it("gives a position eight times, then asks for WAL to be written", () => {
    const clock = new VersionClock();
    const given = Array.from({ length: 9 }, () => clock.next(64n));
    assert.deepEqual(given, [64n, 65n, 66n, 67n, 68n, 69n, 70n, 71n, null]);
    assert.equal(clock.next(72n), 72n);
  });

  it("never gives a position twice or smaller, nor one beyond the next WAL record", () => {
    fc.assert(fc.property(fc.array(fc.bigInt({ min: 8n, max: 200n })), (positions) => {
      const clock = new VersionClock();
      let last = 0n;
      for (const position of positions) {
        const given = clock.next(position);
        if (given === null) continue;
        assert.ok(given > last);
        assert.ok(given < position - position % 8n + 8n);
        last = given;
      }
    }));
  });
});
