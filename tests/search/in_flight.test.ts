import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import fc from "fast-check";
import { InFlight } from "../../src/search/in_flight.ts";

/** Lets everything run that needs no more than resolved promises. */
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Starts a request and notes when it gets its documents. */
function start(lock: InFlight, ids: string[], signal?: AbortSignal) {
  const request: { release: (() => void) | null; failed: unknown } = { release: null, failed: null };
  lock.acquire(ids, signal).then((release) => request.release = release, (error) => request.failed = error);
  return request;
}

test("a request waits until none of its documents is in another one", async () => {
  const lock = new InFlight();
  const first = start(lock, ["a", "b"]);
  const second = start(lock, ["b", "c"]);
  const third = start(lock, ["d", "d"]);
  await settle();
  assert.ok(first.release && third.release);
  assert.equal(second.release, null);
  assert.equal(lock.held, 3);
  first.release();
  first.release();
  await settle();
  assert.ok(second.release);
  assert.equal(lock.held, 3);
});

test("a large request is not starved by small ones that come later", async () => {
  const lock = new InFlight();
  const first = start(lock, ["a"]);
  await settle();
  const large = start(lock, ["a", "b"]);
  const small = start(lock, ["b"]);
  await settle();
  assert.equal(small.release, null, "the large request came first");
  first.release?.();
  await settle();
  assert.ok(large.release);
  assert.equal(small.release, null);
  large.release();
  await settle();
  assert.ok(small.release);
});

test("an aborted wait leaves no trace", async () => {
  const lock = new InFlight();
  const first = start(lock, ["a"]);
  await settle();
  const control = new AbortController();
  const waiting = start(lock, ["a", "b"], control.signal);
  const behind = start(lock, ["b"]);
  control.abort(new Error("stop"));
  await settle();
  assert.match(String(waiting.failed), /stop/);
  assert.ok(behind.release, "it waited for the aborted request only");
  first.release?.();
  behind.release();
  assert.equal(lock.held, 0);
  await assert.rejects(lock.acquire(["a"], control.signal), /stop/);
});

test("no document is ever in two requests, and every request gets its turn", async () => {
  const ids = fc.array(fc.constantFrom("a", "b", "c", "d", "e"), { minLength: 1, maxLength: 5 });
  const requests = fc.array(fc.record({ ids, turns: fc.nat(3), abort: fc.boolean() }), { maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(requests, async (list) => {
      const lock = new InFlight();
      const inside = new Set<string>();
      let done = 0;
      await Promise.all(list.map(async ({ ids, turns, abort }, place) => {
        const control = new AbortController();
        const acquired = lock.acquire(ids, control.signal);
        if (abort && place % 2 === 1) control.abort();
        const release = await acquired.catch(() => null);
        if (release !== null) {
          for (const id of new Set(ids)) {
            assert.ok(!inside.has(id), `${id} is in two requests`);
            inside.add(id);
          }
          for (let turn = 0; turn < turns; turn++) await settle();
          for (const id of ids) inside.delete(id);
          release();
        }
        done++;
      }));
      assert.equal(done, list.length);
      assert.equal(lock.held, 0);
    }),
    { numRuns: 50 },
  );
});

test("5,000 documents cost little", async () => {
  const lock = new InFlight();
  const ids = Array.from({ length: 5_000 }, (_, n) => `document-${n}`);
  // Not the time that passes: on a busy machine most of it is others'.
  const start = process.cpuUsage();
  for (let round = 0; round < 20; round++) (await lock.acquire(ids))();
  const { user, system } = process.cpuUsage(start);
  assert.ok(user + system < 2_000_000, `${user + system} µs`);
});
