import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { backoffDelay, delay } from "../../src/retry/backoff.ts";

test("the upper limit doubles with each failed attempt, up to the cap", () => {
  const limits = { baseMs: 100, capMs: 1_000 };
  const almostOne = () => 0.999_999;
  assert.deepEqual([0, 1, 2, 3, 4, 50].map((attempt) => backoffDelay(attempt, limits, almostOne)), [
    99,
    199,
    399,
    799,
    999,
    999,
  ]);
});

test("the delay lies anywhere between 0 and the limit, for any attempt", () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(100_000), fc.nat(100_000), (attempt, baseMs, capMs) => {
      const delay = backoffDelay(attempt, { baseMs, capMs });
      assert.ok(delay >= 0 && delay <= capMs && Number.isInteger(delay));
    }),
  );
  assert.equal(backoffDelay(3, { baseMs: 100, capMs: 1_000 }, () => 0), 0);
});

test("delay waits", async () => {
  const start = performance.now();
  await delay(20);
  assert.ok(performance.now() - start >= 19);
});

test("an abort ends the wait with the signal's reason", async () => {
  const stop = new AbortController();
  const waiting = delay(60_000, stop.signal);
  stop.abort(new Error("enough"));
  await assert.rejects(waiting, { message: "enough" });
  await assert.rejects(delay(60_000, stop.signal), { message: "enough" });
});
