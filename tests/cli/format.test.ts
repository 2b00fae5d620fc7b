import assert from "node:assert/strict";
import { test } from "node:test";
import { inOneLine, toJson } from "../../src/cli/format.ts";
import { formatBytes, formatCount, formatDuration } from "../../src/status/figures.ts";
import { RateMeter } from "../../src/status/rate.ts";
import { table } from "../../src/cli/table.ts";

test("bytes", () => {
  assert.deepEqual([0, 999, 1000, 1536, 12_345_678, 3e15].map(formatBytes), [
    "0 B",
    "999 B",
    "1.0 kB",
    "1.5 kB",
    "12 MB",
    "3.0 PB",
  ]);
});

test("counts and durations", () => {
  assert.equal(formatCount(1234567), "1,234,567");
  assert.deepEqual([0, 0.4, 59.6, 61, 3600, 7500, 90_061].map(formatDuration), [
    "0 s",
    "0 s",
    "1 min",
    "1 min 1 s",
    "1 h",
    "2 h 5 min",
    "1 d 1 h",
  ]);
});

test("JSON of what JSON has no word for", () => {
  assert.equal(
    toJson({ lsn: 2n ** 63n, error: Object.assign(new TypeError("no"), { code: "E" }) }),
    '{"lsn":"9223372036854775808","error":{"name":"TypeError","code":"E","message":"no"}}',
  );
});

/** Those that command a terminal, break lines, or turn the direction of text. */
const MARKS = "\x00\x1b\x7f\x85\x9b\x9f\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069";

test("JSON commands no terminal, and says the same", () => {
  const value = { [`k${MARKS}`]: `a${MARKS}b ключ 😀` };
  for (const indent of [undefined, 2]) {
    const text = toJson(value, indent);
    assert.doesNotMatch(text.replaceAll("\n", ""), /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
    assert.match(text, /ключ 😀/);
    assert.deepEqual(JSON.parse(text), value);
  }
});

test("a line is one, and commands no terminal", () => {
  assert.equal(inOneLine(`a${MARKS}b ключ 😀`), "a b ключ 😀");
});

test("the rate is that of the last seconds, and says when the goal is reached", () => {
  const meter = new RateMeter(10_000);
  assert.equal(meter.perSecond(), 0);
  assert.equal(meter.secondsTo(100), null);
  for (let second = 0; second <= 100; second++) {
    meter.add(second * 1000, second <= 50 ? second : 50 + (second - 50) * 10);
  }
  assert.equal(meter.perSecond(), 10);
  assert.equal(meter.secondsTo(650), 10);
  assert.equal(meter.secondsTo(1), 0, "beyond the goal");
});

test("a table has even columns, numbers to the right", () => {
  assert.deepEqual(table([["index", "documents"], ["a", "1,234"], ["longer", "5"]]), [
    "index   documents",
    "a           1,234",
    "longer          5",
  ]);
});
