import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RecoveryLog } from "../../src/sync/recovery_log.ts";

/** A log; times are in seconds. */
function log() {
  const told: number[] = [];
  let warnedAt: number | null = null;
  const recovery = new RecoveryLog(() => warnedAt, (seconds) => told.push(seconds));
  return {
    told,
    warn: (at: number) => void (warnedAt = at * 1000),
    over: (since: number, now: number) => recovery.over(since * 1000, now * 1000),
    isWell: (now: number) => recovery.isWell(now * 1000),
  };
}

describe("The end of an outage", () => {
  it("is told where its beginning was", () => {
    const { told, warn, over } = log();
    over(100, 110);
    assert.deepEqual(told, [], "nobody knows of it");
    warn(200);
    over(200, 210);
    assert.deepEqual(told, [10]);
    over(300, 310);
    assert.deepEqual(told, [10], "the warning was about another one");
  });

  it("is not told of a hiccup", () => {
    const { told, warn, over } = log();
    warn(100);
    over(100, 100.9);
    assert.deepEqual(told, []);
  });

  it("is told once a minute where requests fail now and then, and at last for all of them", () => {
    const { told, warn, over, isWell } = log();
    warn(100);
    over(100, 102);
    // The log is told of each kind of failure by itself.
    warn(105);
    over(104, 108);
    over(112, 116);
    isWell(161);
    assert.deepEqual(told, [2], "too soon");
    isWell(163);
    assert.deepEqual(told, [2, 12]);
    isWell(300);
    assert.deepEqual(told, [2, 12]);
  });
});
