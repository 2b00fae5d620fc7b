import assert from "node:assert/strict";
import { test } from "node:test";
import { ERRORS } from "../../src/errors/codes.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import { isLoss, mayMend, mayResync } from "../../src/sync/slot_loss.ts";
import { RUN_DEFAULTS, type RunOptions } from "../../src/sync/options.ts";
import { parseSchema } from "../../src/schema/parse.ts";
import { POSTGRES_DEFAULTS } from "../../src/postgres/options.ts";
import { SEARCH_DEFAULTS } from "../../src/search/options.ts";

const run = (changes: Partial<RunOptions>): RunOptions => ({
  ...RUN_DEFAULTS,
  schema: parseSchema("{ database: shop, index: books, nodes: { table: book } }", "schema.yaml", {}),
  postgres: { ...POSTGRES_DEFAULTS, user: "me" },
  search: { ...SEARCH_DEFAULTS, urls: ["http://localhost:9200"] },
  ...changes,
});

test("who may begin a new slot: whoever says so, and whoever makes what is missing and does not say no", () => {
  const verdicts = ([true, false] as const).map((bootstrap) =>
    ([null, "halt", "resync"] as const).map((onSlotLoss) => mayResync(run({ bootstrap, onSlotLoss })))
  );
  assert.deepEqual(verdicts, [[true, false, true], [false, false, true]]);
});

test("a slot that somebody else may follow is given up only by name", () => {
  const behind = new PgsyncError("CHECKPOINT_BEHIND", "");
  assert.equal(isLoss(behind), false, "it never ends a run that goes on by itself");
  assert.equal(mayMend(behind, run({ bootstrap: true }), null), false);
  assert.equal(mayMend(behind, run({ onSlotLoss: "resync" }), null), true);
  assert.equal(mayMend(new PgsyncError("SLOT_LOST", ""), run({ bootstrap: true }), null), true);
});

test("each loss is told to be one, and its remedy says how it is mended", () => {
  for (const [code, definition] of Object.entries(ERRORS)) {
    const error = new PgsyncError(code as keyof typeof ERRORS, "");
    if (!isLoss(error)) continue;
    assert.equal(definition.next, "resync", code);
    assert.match(definition.remedy, /--on-slot-loss resync/, code);
  }
  const missing = (sqlState: string) =>
    new PgsyncError("PUBLICATION_MISSING", "", { cause: Object.assign(new Error(""), { code: sqlState }) });
  assert.ok(isLoss(missing("42704")), "the server does not find it at the slot's position");
  assert.ok(!isLoss(missing("42501")) && !isLoss(new PgsyncError("PUBLICATION_MISSING", "")));
});
