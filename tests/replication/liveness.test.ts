import assert from "node:assert/strict";
import { test } from "node:test";
import { type ErrorCode, type ErrorDefinition, ERRORS } from "../../src/errors/codes.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import {
  countDecodingError,
  type DecodingErrors,
  decodingFailure,
  inboundVerdict,
  livenessTimings,
  RECONNECT,
  reconnectDelay,
  shouldAskForReply,
} from "../../src/replication/liveness.ts";
import type { Lsn } from "../../src/replication/lsn.ts";
import { ABANDONED_AFTER_MS } from "../../src/replication/slot_drop.ts";

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

test("what is waited for is what the table of errors says to be tried again", () => {
  const retried = Object.entries<ErrorDefinition>(ERRORS)
    .filter(([, { next, onceConnected = next }]) => onceConnected === "retry")
    .map(([code]) => code);
  assert.deepEqual(Object.keys(RECONNECT).filter((code) => !retried.includes(code)), []);
});

test("a slot counts as abandoned when a run that was cut off would have come back to it", () => {
  const { leastMs = 0, capMs = Infinity } = RECONNECT.POSTGRES_UNREACHABLE ?? {};
  assert.ok(ABANDONED_AFTER_MS > leastMs + capMs);
});

/** What a session ended by. */
function sessionFault(
  said: string,
  code: ErrorCode = "DECODING_ERROR",
  sqlState = "XX000",
): PgsyncError {
  return new PgsyncError(code, said, { cause: Object.assign(new Error(said), { code: sqlState }) });
}

test("one error of decoding at one place, again and again for some time, will never end", () => {
  let counted: DecodingErrors | null = null;
  const verdicts = [0, 5_000, 9_999, 10_000, 10_001].map((now) => {
    counted = countDecodingError(counted, sessionFault("unexpected duplicate"), 0x1A0n, now);
    return decodingFailure(counted, now)?.code ?? null;
  });
  assert.deepEqual(verdicts, [null, null, null, "DECODING_FAILED", "DECODING_FAILED"]);
  assert.match(
    decodingFailure(counted, 10_001)?.message ?? "",
    /^After 0\/1A0, 5 times in a row: unexpected duplicate/,
  );
});

test("errors of decoding that are few, others, elsewhere, or broken off by something else are tried on", () => {
  const last = (faults: readonly (readonly [PgsyncError, Lsn])[], pauseMs = 60_000) => {
    let counted: DecodingErrors | null = null;
    for (const [at, [fault, from]] of faults.entries()) {
      counted = countDecodingError(counted, fault, from, at * pauseMs);
    }
    return decodingFailure(counted, (faults.length - 1) * pauseMs)?.code ?? null;
  };
  const same = [sessionFault("unexpected duplicate"), 8n] as const;
  assert.equal(last([same, same, same, same]), "DECODING_FAILED");
  assert.equal(last([same, same, same]), null);
  assert.equal(last([same, same, same, same, same], 2_000), null);
  assert.equal(
    last([same, same, [sessionFault("unexpected duplicate", "POSTGRES_UNREACHABLE"), 8n], same, same]),
    null,
  );
  const other = sessionFault("invalid memory alloc request", "DECODING_ERROR", "54000");
  assert.equal(last([same, same, [other, 8n], same, same]), null);
  // The words of an error say more than what kind it is of: "cache lookup failed for relation 16385".
  const lookup = (oid: number) => [sessionFault(`cache lookup failed for relation ${oid}`), 8n] as const;
  assert.equal(last([lookup(1), lookup(2), lookup(3), lookup(4)]), "DECODING_FAILED");
  assert.equal(last([same, same, same, [same[0], 16n]]), null);
});
