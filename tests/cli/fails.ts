import assert from "node:assert/strict";
import { PgsyncError } from "../../src/errors/error.ts";

/** Checks that `act` throws a usage error whose message, or remedy, says the words; and no secret. */
export function failsWithUsage(words: RegExp, act: () => unknown): void {
  assert.throws(act, (error) => {
    assert.ok(error instanceof PgsyncError, String(error));
    assert.equal(error.code, "USAGE");
    assert.match(`${error.message}\n${error.remedy}`, words);
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
}
