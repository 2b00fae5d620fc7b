import assert from "node:assert/strict";
import { test } from "node:test";
import { normaliseArguments } from "../../src/cli/arguments.ts";

const CASES: [string, string][] = [
  ["--schema_url http://a_b/c_d", "--schema-url http://a_b/c_d"],
  ["--schema_url=http://a_b", "--schema-url=http://a_b"],
  ["--num_workers 3 --log-format json", "--num-workers 3 --log-format json"],
  ["bootstrap -nc -c s.json", "bootstrap --no-create -c s.json"],
  ["-nc", "-nc"],
  ["-c my_schema.json", "-c my_schema.json"],
  ["-- --a_b", "-- --a_b"],
];
for (const [given, expected] of CASES) {
  test(`${given} → ${expected}`, () =>
    assert.deepEqual(normaliseArguments(given.split(" ")), expected.split(" ")));
}
