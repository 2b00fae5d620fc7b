import assert from "node:assert/strict";
import { test } from "node:test";
import { PgsyncError, toPgsyncError } from "../../src/errors/error.ts";
import { patiently } from "../../src/retry/patience.ts";

const AWAY = new PgsyncError("SEARCH_UNREACHABLE", "Away.");
const NEVER = new AbortController().signal;

/** Work that fails so, then succeeds. */
function failing(...errors: readonly PgsyncError[]): () => Promise<string> {
  const left = [...errors];
  return () => {
    const error = left.shift();
    return error === undefined ? Promise.resolve("done") : Promise.reject(error);
  };
}

test("work is tried again, and what was told of its failures hears when it succeeds, once", async () => {
  const told: string[] = [];
  const onFault = (fault: PgsyncError) => {
    told.push(fault.message);
    return () => void told.push("succeeded");
  };
  assert.equal(await patiently(failing(AWAY, AWAY), toPgsyncError, onFault, NEVER), "done");
  assert.deepEqual(told, ["Away.", "Away.", "succeeded"]);
  assert.equal(await patiently(failing(), toPgsyncError, onFault, NEVER), "done");
  assert.equal(told.length, 3, "without a failure there is nothing to take back");
});

test("work that fails for good has not succeeded", async () => {
  const told: string[] = [];
  const onFault = () => () => void told.push("succeeded");
  const refused = new PgsyncError("SEARCH_REFUSED", "No.");
  await assert.rejects(patiently(failing(AWAY, refused), toPgsyncError, onFault, NEVER), refused);
  const over = new AbortController();
  const ending = patiently(failing(AWAY), toPgsyncError, () => over.abort("over"), over.signal);
  await assert.rejects(ending, (reason) => reason === "over");
  assert.deepEqual(told, []);
});

test("which failures pass is the caller's to say", async () => {
  const none = patiently(failing(AWAY), toPgsyncError, () => {}, NEVER, () => false);
  await assert.rejects(none, AWAY);
});
