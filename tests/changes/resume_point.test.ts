import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ResumePoint } from "../../src/changes/resume_point.ts";

const begin = (lsn: bigint, xid = Number(lsn)) => ({ finalLsn: lsn, xid, commitTimeMs: 1 });
const known = (lsn: bigint) => ({ lsn, xid: Number(lsn), timeMs: 1 });

function resumedAt(lastCommit: bigint | null, confirmed: bigint | null): ResumePoint {
  const point = new ResumePoint(
    () => lastCommit === null ? null : known(lastCommit),
    ({ lsn }) => new Error(`${lsn} is absent`),
  );
  point.onConnect(confirmed);
  return point;
}

describe("The point from which a session goes on", () => {
  it("is the last transaction that was taken: the server has to send it again", () => {
    const point = resumedAt(20n, 10n);
    assert.equal(point.isTaken(begin(15n)), true);
    point.passed(20n);
    assert.equal(point.isTaken(begin(20n)), true);
    point.passed(30n);
    assert.equal(point.isTaken(begin(21n)), false);
  });

  it("is missed where another transaction stands in its place, or behind it, or all behind it was sent", () => {
    const absent = /20 is absent/;
    assert.throws(() => resumedAt(20n, 10n).isTaken(begin(20n, 7)), absent);
    assert.throws(() => resumedAt(20n, 10n).isTaken({ ...begin(20n), commitTimeMs: 2 }), absent);
    assert.throws(() => resumedAt(20n, 10n).isTaken(begin(21n)), absent);
    assert.throws(() => resumedAt(20n, 20n).passed(21n), absent);
  });

  it("is not awaited where the slot is confirmed beyond it: what comes is new, also before the position", () => {
    const point = resumedAt(20n, 21n);
    point.passed(30n);
    assert.equal(point.isTaken(begin(21n)), false);
  });

  it("is not known in the beginning: all that comes is new", () => {
    const point = resumedAt(null, 5n);
    point.passed(30n);
    assert.equal(point.isTaken(begin(6n)), false);
  });

  it("a history is taken for our own where it holds the last transaction, and only there", () => {
    const commits = fc.uniqueArray(fc.bigInt({ min: 1n, max: 60n }), { minLength: 1, maxLength: 12 });
    fc.assert(fc.property(commits, commits, fc.nat(59), fc.nat(60), (own, other, at, confirmed) => {
      const byLsn = (one: bigint, two: bigint) => Number(one - two);
      const taken = own.toSorted(byLsn).slice(0, 1 + at % own.length);
      const last = taken.at(-1) ?? 0n;
      /** What a server with this history sends from the slot's position, or from the transaction we ask for. */
      const follow = (history: readonly bigint[], xid: (lsn: bigint) => number) => {
        const from = BigInt(confirmed) > last ? BigInt(confirmed) : last;
        const point = resumedAt(last, BigInt(confirmed));
        const sent = history.toSorted(byLsn).filter((lsn) => lsn >= from);
        const fresh = sent.filter((lsn) => !point.isTaken(begin(lsn, xid(lsn))));
        point.passed(100n);
        return fresh;
      };
      // Our own server sends what was not taken, and what the slot was not confirmed beyond.
      const expected = own.filter((lsn) => lsn > last && lsn >= BigInt(confirmed)).toSorted(byLsn);
      assert.deepEqual(follow(own, Number), expected);
      // Another history of it has other transactions, wherever they lie.
      if (BigInt(confirmed) <= last) {
        assert.throws(() => follow(other, (lsn) => Number(lsn) + 1_000), /is absent/);
      }
    }));
  });
});
