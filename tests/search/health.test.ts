import assert from "node:assert/strict";
import { test } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { SearchHealth } from "../../src/search/health.ts";

test("an outage lasts from its first failure to the next success", () => {
  const health = new SearchHealth();
  assert.deepEqual(health.state, { healthy: true });
  const [first, second] = [new Date(1000), new Date(2000)];
  const error = new PgsyncError("SEARCH_UNREACHABLE", "No answer.");
  const later = new PgsyncError("SEARCH_UNAVAILABLE", "Overloaded.");
  health.failed(error, first);
  health.failed(later, second);
  assert.deepEqual(health.state, { healthy: false, error: later, since: first, failures: 2 });
  health.succeeded();
  assert.deepEqual(health.state, { healthy: true });
  health.failed(error, second);
  assert.deepEqual(health.state, { healthy: false, error, since: second, failures: 1 });
});
