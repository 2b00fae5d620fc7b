/** The sources run in whatever runtime runs this file: Deno (`deno test`) and Bun (`bun test`). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { formatLsn, parseLsn } from "../../src/replication/lsn.ts";

test("a module of the library gives the same answers", () => {
  assert.equal(parseLsn("16/B374D848"), 0x16B374D848n);
  assert.equal(formatLsn(0x16B374D848n), "16/B374D848");
});
