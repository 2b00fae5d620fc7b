/**
 * The library in whatever runtime runs this file: Deno (`deno test`) and Bun (`bun test`). That it follows a table in both is
 * shown by tests/examples/library.test.ts, which is run twice too.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { formatLsn, parseLsn, parseSchema, PgsyncError, VERSION } from "../../mod.ts";
import project from "../../deno.json" with { type: "json" };

test("the version is that of deno.json", () => {
  assert.equal(VERSION, project.version);
});

test("positions in the log are read and printed alike", () => {
  assert.equal(parseLsn("16/B374D848"), 0x16B374D848n);
  assert.equal(formatLsn(0x16B374D848n), "16/B374D848");
});

test("a schema file's faults have a code and a place", () => {
  assert.throws(
    () => parseSchema("database: shop\nnodes: { tabel: book }\n", "schema.yaml", {}),
    (error) =>
      error instanceof PgsyncError && error.code === "SCHEMA_INVALID" &&
      error.message.includes("schema.yaml:2"),
  );
});
