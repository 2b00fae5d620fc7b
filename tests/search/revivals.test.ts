/** What is remembered of documents that old builds may have brought back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Revivals } from "../../src/search/revivals.ts";
import { bulk, NEVER } from "./setup.ts";

const BUILT_AT = 1_000_000;

/** Revivals by a clock that can be set, and a request of one document and one deletion. */
function prepare() {
  const clock = { now: BUILT_AT };
  const revivals = new Revivals("books_1", () => clock.now);
  const request = { ...bulk(["1", 8n, { n: 1 }], ["2", 8n, null]), builtAt: BUILT_AT };
  return { clock, revivals, request };
}

test("documents may come back when their build is older than a minute, or of an unknown age", () => {
  const { clock, revivals, request } = prepare();
  using attempt = revivals.attempt(request, request.items);
  for (const [ageMs, may] of [[0, false], [60_000, false], [60_001, true], [-1, true]] as const) {
    clock.now = BUILT_AT + ageMs;
    assert.equal(attempt.mayRevive, may, String(ageMs));
  }
});

test("an answer that was lost leaves it open; deletions bring nothing back", async () => {
  const { clock, revivals, request } = prepare();
  {
    using attempt = revivals.attempt(request, request.items);
    attempt.lost();
    assert.equal(revivals.possible, 0, "it was young");
    clock.now += 60_001;
    attempt.lost();
  }
  assert.deepEqual([revivals.made, revivals.possible], [0, 1]);
  let none = false;
  const waited = revivals.none(NEVER).then(() => none = true);
  revivals.settled({ ...bulk(["3", 8n, {}]), builtAt: clock.now });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(none, false);
  revivals.settled({ ...bulk(["1", 10n, null]), builtAt: clock.now });
  await waited;
  assert.equal(revivals.possible, 0);
});

test("what is on its way is waited for only where it may bring something back; an abort ends the wait", async () => {
  const { clock, revivals, request } = prepare();
  const attempt = revivals.attempt(request, request.items);
  await revivals.none(NEVER);
  clock.now += 60_001;
  const control = new AbortController();
  const given = revivals.none(control.signal);
  const waited = revivals.none(NEVER);
  control.abort(new Error("enough"));
  await assert.rejects(given, /enough/);
  assert.equal(attempt.created(["1"]), true);
  attempt[Symbol.dispose]();
  assert.deepEqual([revivals.made, revivals.possible], [1, 1]);
  revivals.settled(request);
  await waited;
});
