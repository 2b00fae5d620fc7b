import assert from "node:assert/strict";
import { test } from "node:test";
import type { Sample } from "../../scripts/bench/soak/samples.ts";
import { largestDeviation, problems, rounds } from "../../scripts/bench/soak/verdict.ts";

const ROUND = 100;

/** Nine rounds of ten samples; within a round memory goes up and down. */
function seen(change: (at: number, round: number) => Partial<Sample> = () => ({})) {
  const samples = Array.from({ length: 90 }, (_, number): Sample => ({
    at: number * 10,
    resident: 100_000_000 + (number % 10) * 6_000_000,
    files: 20 + number % 3,
    sockets: 10 + number % 3,
    sessions: 8,
    held: 0,
    mostHeld: 50,
    ...change(number * 10, Math.floor(number / 10)),
  }));
  return rounds(samples, ROUND);
}

test("rounds that are alike are no problem, however memory moves within them", () => {
  const all = seen();
  assert.equal(all.length, 9);
  assert.deepEqual([all[0]?.number, all[0]?.mean, all[0]?.most], [1, 127_000_000, 154_000_000]);
  assert.deepEqual(problems(all, 64), []);
  assert.equal(largestDeviation(all), 0);
});

test("memory that grows or shrinks by more than a tenth is told", () => {
  const growing = (share: number) =>
    seen((_, round) => ({ resident: 100_000_000 * (1 + share * round / 8) }));
  assert.deepEqual(problems(growing(0.1), 64), []);
  // No round is a tenth from the mean of all, and yet it grows without end.
  assert.deepEqual(problems(growing(0.19), 64), [
    "In the last third of the rounds mean resident memory is 13.9 % from that of the first.",
  ]);
  assert.equal(problems(growing(0.3), 64).length, 3);
  assert.match(problems(growing(-0.3), 64).join(), /In round 1 resident memory is 17.6 % from/);
});

test("handles and connections that grow are told, and buffers that hold too much", () => {
  assert.match(
    problems(seen((at) => ({ files: 20 + at / 200 })), 64).join(),
    /Of files there were 20.7.* at first/,
  );
  const peaks = seen((at, round) => at % ROUND === 50 && round > 5 ? { sockets: 30 } : {});
  assert.deepEqual(problems(peaks, 64), ["Of sockets there were 12 at most at first and 30 at the end."]);
  assert.match(problems(seen((_, round) => ({ sessions: 8 + round })), 64).join(), /Of sessions/);
  assert.deepEqual(problems(seen(() => ({ mostHeld: 65 })), 64), ["The buffers held 65 bytes, of 64."]);
  assert.equal(problems(seen(() => ({ mostHeld: NaN })), 64).length, 1, "nobody has told");
});
