import { test } from "node:test";
import { deepEqual } from "node:assert/strict";
import { batchesOf, hasLongTests, selectTests } from "../../../scripts/tests/batches.ts";

test("a batch has at most four files of one folder, in their order", () => {
  const files = ["a/1", "a/2", "a/3", "a/4", "a/5", "b/1", "a/6"];
  deepEqual(batchesOf(files), [["a/1", "a/2", "a/3", "a/4"], ["a/5"], ["b/1"], ["a/6"]]);
  deepEqual(batchesOf([]), []);
});

test("without a path all tests are selected but the long ones; options stay with deno test", () => {
  const all = selectTests(["--filter", "one batch"]);
  deepEqual(all.options, ["--filter", "one batch"]);
  deepEqual([all.files.includes("tests/architecture.test.ts"), hasLongTests(all.files)], [true, false]);
  const faults = selectTests(["tests/faults"]);
  deepEqual(hasLongTests(faults.files), true);
  deepEqual(selectTests(["./tests/architecture.test.ts"]).files, ["tests/architecture.test.ts"]);
});
