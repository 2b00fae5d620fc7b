import assert from "node:assert/strict";
import { test } from "node:test";
import { type ErrorCode, ERRORS } from "../../../src/errors/codes.ts";
import { PgsyncError } from "../../../src/errors/error.ts";
import { isCarried, mayMend, mayResync, verdict } from "../../../src/sync/slot/slot_loss.ts";

const RESYNC = { bootstrap: false, onSlotLoss: "resync" } as const;
const HALT = { bootstrap: true, onSlotLoss: "halt" } as const;
const BOOTSTRAP = { bootstrap: true, onSlotLoss: null } as const;

const missing = (sqlState: string) =>
  new PgsyncError("PUBLICATION_MISSING", "", { cause: Object.assign(new Error(""), { code: sqlState }) });

test("who may begin a new slot: whoever says so, and whoever makes what is missing and does not say no", () => {
  const verdicts = ([true, false] as const).map((bootstrap) =>
    ([null, "halt", "resync"] as const).map((onSlotLoss) => mayResync({ bootstrap, onSlotLoss }))
  );
  assert.deepEqual(verdicts, [[true, false, true], [false, false, true]]);
});

test("what is or may be another's is made anew only where that is asked for by name", () => {
  const error = new PgsyncError("SLOT_LOST", "");
  assert.equal(mayMend({ error, byName: true }, BOOTSTRAP), false);
  assert.equal(mayMend({ error, byName: true }, RESYNC), true);
  assert.equal(mayMend({ error, byName: false }, BOOTSTRAP), true);
  assert.equal(mayMend({ error, byName: false }, HALT), false);
});

test("a run that was ended begins anew by itself after a loss that may be mended, and where the server has changed", () => {
  const judged = (code: ErrorCode) =>
    [RESYNC, BOOTSTRAP, HALT].map((run) => verdict(run, new PgsyncError(code, "")));
  assert.deepEqual(judged("SERVER_CHANGED"), ["reopen", "reopen", "reopen"]);
  for (
    const code of ["SLOT_MISSING", "SLOT_LOST", "HISTORY_DIVERGED", "DECODING_FAILED", "PUBLICATION_MISSING"]
  ) {
    assert.deepEqual(judged(code as ErrorCode), ["resync", "resync", "halt"], code);
  }
  // It was replaced by another run; it is another server; it is not a matter of the slot.
  for (const code of ["CHECKPOINT_BEHIND", "CHECKPOINT_FOREIGN", "SLOT_MISMATCH", "INDEX_MISSING"]) {
    assert.deepEqual(judged(code as ErrorCode), ["halt", "halt", "halt"], code);
  }
  assert.equal(verdict(RESYNC, new Error("what nobody knows")), "halt");
});

test("only what the server does not show is taken from the error", () => {
  for (const code of ["SLOT_MISSING", "SLOT_LOST", "HISTORY_DIVERGED", "PUBLICATION_MISSING"] as const) {
    assert.equal(isCarried(new PgsyncError(code, "")), false, code);
  }
  for (const code of ["DECODING_FAILED", "OLD_VALUE_MISSING", "INDEX_VERSION_AHEAD"] as const) {
    assert.equal(isCarried(new PgsyncError(code, "")), true, code);
  }
  assert.equal(isCarried(missing("42704")), true, "the server does not find it at the slot's position");
  assert.equal(isCarried(missing("42501")), false);
});

test("the remedy of each loss says how it is mended", () => {
  for (const [code, definition] of Object.entries(ERRORS)) {
    if (
      code === "PUBLICATION_MISSING" || verdict(RESYNC, new PgsyncError(code as ErrorCode, "")) !== "resync"
    ) continue;
    assert.equal(definition.next, "resync", code);
    assert.match(definition.remedy, /--on-slot-loss resync/, code);
  }
});
