import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogRecord } from "@logtape/logtape";
import { formatJson, formatText } from "../../src/cli/logging.ts";

function record(part: Partial<LogRecord>): LogRecord {
  return {
    category: ["pgsync", "sync"],
    level: "warning",
    message: ["retry in ", 3, " s"],
    rawMessage: "retry in {seconds} s",
    timestamp: Date.UTC(2026, 0, 31, 12),
    properties: { seconds: 3, position: 5n, reason: "it is\nlate", code: "X" },
    ...part,
  };
}

test("a line for people: time, level, category, message, and what the message has not said", () => {
  assert.equal(
    formatText(record({})),
    '2026-01-31T12:00:00.000Z WARN  sync        retry in 3 s position=5 reason="it is\\nlate" code=X',
  );
});

test("a line stays a line", () => {
  assert.equal(formatText(record({ message: ["two\n  lines"], properties: {} })).includes("\n"), false);
});

test("what came from elsewhere neither commands the terminal nor pretends to be another line", () => {
  const id = "1\u001b]0;title\u0007\u009b2J\u2028\u202eend";
  const line = formatText(record({ message: ["refused ", id], properties: { id } }));
  assert.doesNotMatch(line, /[\p{Cc}\u2028\u202e]/u);
  assert.match(line, /refused "?1 ?.*end/);
});

test("JSON: one object in a line", () => {
  assert.deepEqual(JSON.parse(formatJson(record({}))), {
    time: "2026-01-31T12:00:00.000Z",
    level: "warning",
    category: "pgsync.sync",
    message: "retry in 3 s",
    properties: { seconds: 3, position: "5", reason: "it is\nlate", code: "X" },
  });
});

test("what rows and servers say cannot make the terminal show something else", () => {
  for (const hostile of ["\x1b[2J", "\u009b2J", "\u202e", "a\x1b]0;title\x07", "b \u009b2J"]) {
    const line = formatText(record({
      message: ["document ", hostile, " is refused"],
      properties: { reason: hostile },
      rawMessage: "document {id} is refused",
    }));
    assert.doesNotMatch(line, /[\p{Cc}\u202e]/u);
  }
});
