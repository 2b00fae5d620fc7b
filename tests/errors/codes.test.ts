/** The list of all errors: complete, told to the operator, and raised somewhere. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ERRORS_FILE, errorsDocument } from "../../scripts/errors.ts";
import { PROJECT } from "../../scripts/project.ts";
import { type ErrorDefinition, ERRORS, EXIT } from "../../src/errors/codes.ts";

const definitions: readonly (readonly [string, ErrorDefinition])[] = Object.entries(ERRORS);

test("docs/errors.md is what `deno task docs:errors` writes, and names every code", () => {
  const text = readFileSync(ERRORS_FILE, "utf8");
  assert.equal(text, errorsDocument(), "run `deno task docs:errors`");
  for (const [code] of definitions) assert.match(text, new RegExp(`^\\| \`${code}\` +\\|`, "m"));
});

test("every code is raised somewhere in src", () => {
  const folder = join(PROJECT, "src");
  const sources = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts") && path !== join("errors", "codes.ts"))
    .map((path) => readFileSync(join(folder, path), "utf8")).join("\n");
  assert.deepEqual(definitions.map(([code]) => code).filter((code) => !sources.includes(`"${code}"`)), []);
});

test("every error says what happened and what to do, in sentences, and ends with a code that tells of failure", () => {
  for (const [code, { meaning, remedy, exitCode }] of definitions) {
    for (const sentence of [meaning, remedy]) assert.match(sentence, /^\S.*\.\)?$/, code);
    assert.ok(Object.values<number>(EXIT).includes(exitCode) && exitCode !== EXIT.ok, code);
  }
});
