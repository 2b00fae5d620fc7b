import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  extendTransactionId,
  isVisible,
  type Look,
  parseSnapshot,
  waitUntilVisible,
} from "../../src/documents/visibility.ts";

describe("a snapshot", () => {
  it("is read from its text", () => {
    const snapshot = parseSnapshot("10:20:12,15");
    assert.deepEqual([snapshot.xmin, snapshot.xmax, [...snapshot.running]], [10n, 20n, [12n, 15n]]);
    assert.deepEqual([...parseSnapshot("10:10:").running], []);
    for (const text of ["", "1:2", "1:2:3,", "a:b:"]) assert.throws(() => parseSnapshot(text), RangeError);
  });

  it("shows what ended before it was taken", () => {
    const snapshot = parseSnapshot("10:20:12,15");
    const seen = [9n, 10n, 11n, 12n, 13n, 15n, 19n, 20n, 21n].filter((id) => isVisible(id, snapshot));
    assert.deepEqual(seen, [9n, 10n, 11n, 13n, 19n]);
  });

  it("extends 32 bits to the id in use, at every distance below 2^31", () => {
    const ids = fc.bigInt({ min: 3n, max: 1n << 60n });
    const distances = fc.bigInt({ min: -(1n << 31n) + 1n, max: (1n << 31n) - 1n });
    fc.assert(fc.property(ids, distances, (id, distance) => {
      const xmax = id + distance;
      fc.pre(xmax >= 3n);
      const snapshot = { xmin: xmax, xmax, running: new Set<bigint>() };
      assert.equal(extendTransactionId(Number(id & 0xFFFFFFFFn), snapshot), id);
    }));
  });
});

describe("waiting for transactions to be visible", () => {
  it("ends with the position that was read with the snapshot which shows them all", async () => {
    const looks = ["10:12:10,11", "11:13:11", "13:13:"].map((text, at): Look => ({
      snapshot: parseSnapshot(text),
      lsn: BigInt(at),
    }));
    const pauses: number[] = [];
    const lsn = await waitUntilVisible(
      [10, 11],
      () => Promise.resolve(looks.shift() ?? assert.fail()),
      (ms) => {
        pauses.push(ms);
        return Promise.resolve();
      },
    );
    assert.equal(lsn, 2n);
    assert.deepEqual(pauses, [1, 2]);
  });

  it("does not ask again for what was seen once, looks at least once, and ends where the pause does", async () => {
    const look = () => Promise.resolve({ snapshot: parseSnapshot("5:5:"), lsn: 7n });
    assert.equal(await waitUntilVisible([], look, () => assert.fail()), 7n);
    await assert.rejects(waitUntilVisible([9], look, () => Promise.reject(new Error("over"))), /over/);
  });
});
