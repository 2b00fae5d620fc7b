/**
 * What happens after an error is decided by SQLSTATE, status, error type and error code, never by the text of a message: texts are translated, and change
 * between versions. This test reads the sources for decisions by text.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const SOURCES = fileURLToPath(new URL("../src", import.meta.url));

/** What holds the words of an error: `error.message`, `cause.stack`, and variables that are named after them. */
const WORDS = String
  .raw`(?:\b(?:message|stack|said|reason|detail|hint|words|errorText)|String\((?:error|thrown|cause|reason)\))`;

/** The ways to decide by words. */
const DECISIONS: readonly RegExp[] = [
  // error.message.includes("…"), thrown.message?.startsWith("…"), reason.match(/…/)
  new RegExp(
    String.raw`${WORDS}\??\.(?:includes|startsWith|endsWith|match|matchAll|search|indexOf|localeCompare)\(`,
  ),
  // /…/.test(error.message), PATTERN.exec(reason)
  new RegExp(String.raw`\.(?:test|exec)\([^()]*${WORDS}\s*\)`),
  // error.message === "…", reason !== OTHER; null and undefined are no texts
  new RegExp(String.raw`(?<!typeof (?:\w+\.)*)${WORDS}\s*[!=]==?(?!=|\s*(?:null|undefined)\b)`),
  new RegExp(String.raw`[!=]==?\s*(?:\w+\.)+(?:message|stack)\b`),
  // switch (error.message), TEXTS.has(message), TEXTS[error.message]
  new RegExp(String.raw`switch \([^)]*${WORDS}\)`),
  new RegExp(String.raw`\.(?:has|includes|get)\([^()]*${WORDS}\)`),
  new RegExp(String.raw`\w\[(?:\w+\.)+(?:message|stack)\]`),
];

/** Lines that look like such a decision, each with why it stands. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  // Deno 2.9 tells nothing of SQLite's result code but the text that SQLite has for it, a constant (`sqlite3_errstr`) without translation.
  // Node and Bun tell the number, which is asked for first.
  "checkpoint/sqlite.ts": [
    'return "code" in thrown && thrown.code === "ERR_SQLITE_ERROR" && thrown.message === SQLITE_BUSY_TEXT;',
  ],
  // What was told already is not told again; what is done does not depend on it.
  "status/status_board.ts": [
    "const repeated = last !== undefined && last.code === fault.code && last.message === fault.message &&",
  ],
  // How a sentence ends, not what it says.
  "search/errors.ts": ['return reason.endsWith(".") ? reason : `${reason}.`;'],
};

/** The lines of a text that decide by words. */
function decisionsIn(text: string): string[] {
  // A chain of calls is one line, however it is broken.
  return text.replaceAll(/\n\s*(?=\??\.\w)/g, "").split("\n").map((line) => line.trim())
    .filter((line) => !/^(?:\*|\/\/|\/\*)/.test(line) && DECISIONS.some((pattern) => pattern.test(line)));
}

test("no decision by the text of a message", () => {
  const found: Record<string, string[]> = {};
  for (const path of readdirSync(SOURCES, { recursive: true, encoding: "utf8" })) {
    if (!path.endsWith(".ts")) continue;
    const lines = decisionsIn(readFileSync(join(SOURCES, path), "utf8"));
    if (lines.length > 0) found[path] = lines;
  }
  assert.deepEqual(found, ALLOWED);
});

test("decisions by text are known when they are seen", () => {
  for (
    const line of [
      'if (error.message.includes("timeout")) retry();',
      "if (thrown instanceof Error && /deadlock/.test(thrown.message)) retry();",
      'const lost = error.message === "terminating connection";',
      'if (cause.stack?.startsWith("TypeError")) return;',
      "switch (error.message) {",
      "const again = reason.match(/too many clients/) !== null;",
      "if (RETRIED.has(error.message)) return true;",
      "return DELAYS[error.message];",
      'if ("gone" === error.message) return;',
      'if (String(error).includes("ECONNRESET")) return true;',
      "const parts = PATTERN.exec(said);",
    ]
  ) assert.deepEqual(decisionsIn(`  ${line}`), [line]);
  for (
    const line of [
      'if (sqlStateOf(error) === "40P01") continue;',
      "return TEMPORARY_TYPES.has(type);",
      "const message = thrown instanceof Error ? thrown.message : String(thrown);",
      "if (reason !== null) throw reason;",
      "// error.message.includes would be wrong",
    ]
  ) assert.deepEqual(decisionsIn(line), []);
});
