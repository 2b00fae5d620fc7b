import assert from "node:assert/strict";
import { test } from "node:test";
import type { ErrorCode } from "../../src/errors/codes.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import {
  inboundVerdict,
  livenessTimings,
  reconnectDelay,
  shouldAskForReply,
} from "../../src/replication/liveness.ts";

test("we speak three times within wal_sender_timeout, at least every 10 s, and listen twice as long", () => {
  assert.deepEqual(livenessTimings(60_000), { statusIntervalMs: 10_000, inboundLimitMs: 120_000 });
  assert.deepEqual(livenessTimings(2_000), { statusIntervalMs: 666, inboundLimitMs: 4_000 });
  assert.deepEqual(livenessTimings(50), { statusIntervalMs: 100, inboundLimitMs: 100 });
  assert.deepEqual(livenessTimings(0), { statusIntervalMs: 10_000, inboundLimitMs: null });
});

test("silence is death, unless we do not listen or the server never cuts a connection", () => {
  const state = { now: 10_000, lastInboundAt: 5_000, paused: false, inboundLimitMs: 4_000 };
  assert.equal(inboundVerdict(state), "dead");
  assert.equal(inboundVerdict({ ...state, lastInboundAt: 6_000 }), "alive");
  assert.equal(inboundVerdict({ ...state, paused: true }), "alive");
  assert.equal(inboundVerdict({ ...state, inboundLimitMs: null }), "alive");
});

test("a server that says nothing is asked for an answer", () => {
  const timings = livenessTimings(60_000);
  assert.equal(shouldAskForReply(20_000, 9_000, timings), true);
  assert.equal(shouldAskForReply(20_000, 11_000, timings), false);
  assert.equal(shouldAskForReply(20_000, 0, livenessTimings(0)), false);
});

/** The least and the greatest wait. */
function waits(code: ErrorCode, attempt: number, connectedBefore = true): (number | null)[] {
  const error = new PgsyncError(code, "");
  return [() => 0, () => 0.999_999].map((random) => reconnectDelay(error, attempt, connectedBefore, random));
}

test("the wait before a new connection depends on the error", () => {
  assert.deepEqual(waits("POSTGRES_UNREACHABLE", 0), [100, 599]);
  assert.deepEqual(waits("POSTGRES_UNREACHABLE", 20), [100, 30_099]);
  assert.deepEqual(waits("SLOT_ACTIVE", 20), [200, 10_199]);
  assert.deepEqual(waits("POSTGRES_LOGIN", 0), [30_000, 59_999]);
});

test("where no attempt can help there is none", () => {
  for (
    const code of [
      "SLOT_LOST",
      "SLOT_MISSING",
      "PUBLICATION_MISSING",
      "REPLICATION_PROTOCOL",
      "INTERNAL",
    ] as const
  ) {
    assert.deepEqual(waits(code, 0), [null, null], code);
  }
  // Refused at the very first: a wrong password, not one that was changed meanwhile.
  assert.deepEqual(waits("POSTGRES_LOGIN", 0, false), [null, null]);
});
