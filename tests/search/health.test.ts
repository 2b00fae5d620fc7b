import assert from "node:assert/strict";
import { test } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { SearchHealth } from "../../src/search/health.ts";

const NO_ANSWER = new PgsyncError("SEARCH_UNREACHABLE", "No answer.");
const OVERLOADED = new PgsyncError("SEARCH_UNAVAILABLE", "Overloaded.");
const [FIRST, SECOND, THIRD] = [new Date(1000), new Date(2000), new Date(3000)];

test("an outage lasts from its first failure to the next success", () => {
  const recovered: Date[] = [];
  const health = new SearchHealth((since) => recovered.push(since));
  assert.deepEqual(health.state, { healthy: true });
  health.succeeded("books");
  health.failed("books", NO_ANSWER, FIRST);
  health.failed("books", OVERLOADED, SECOND);
  assert.deepEqual(health.state, { healthy: false, error: OVERLOADED, since: FIRST, failures: 2 });
  assert.deepEqual(recovered, []);
  health.succeeded("books");
  assert.deepEqual(health.state, { healthy: true });
  assert.deepEqual(recovered, [FIRST]);
  health.failed("books", NO_ANSWER, SECOND);
  assert.deepEqual(health.state, { healthy: false, error: NO_ANSWER, since: SECOND, failures: 1 });
});

test("an index that is blocked is an outage, whatever the others take", () => {
  const recovered: Date[] = [];
  const health = new SearchHealth((since) => recovered.push(since));
  health.failed("books", OVERLOADED, FIRST);
  health.failed("authors", NO_ANSWER, SECOND);
  health.succeeded("authors");
  health.answered();
  assert.deepEqual(health.state, { healthy: false, error: OVERLOADED, since: FIRST, failures: 1 });
  assert.deepEqual(recovered, []);
  health.succeeded("books");
  assert.deepEqual(recovered, [FIRST]);
});

test("an engine that is silent while nothing is written is an outage, until it answers anything", () => {
  const health = new SearchHealth();
  health.silent(NO_ANSWER, SECOND);
  health.silent(NO_ANSWER, THIRD);
  assert.deepEqual(health.state, { healthy: false, error: NO_ANSWER, since: SECOND, failures: 2 });
  health.answered();
  assert.deepEqual(health.state, { healthy: true });
  health.silent(NO_ANSWER, THIRD);
  health.succeeded("books");
  assert.deepEqual(health.state, { healthy: true });
});

test("what one part of a run told goes with it: nobody will tell that it is over", () => {
  const recovered: Date[] = [];
  const health = new SearchHealth((since) => recovered.push(since));
  health.failed("authors", OVERLOADED, SECOND);
  const part = health.part();
  part.failed("books", NO_ANSWER, FIRST);
  part.failed("shops", NO_ANSWER, FIRST);
  part.succeeded("shops");
  assert.deepEqual(health.state, { healthy: false, error: NO_ANSWER, since: FIRST, failures: 1 });
  part[Symbol.dispose]();
  assert.deepEqual(health.state, { healthy: false, error: OVERLOADED, since: SECOND, failures: 1 });
  part.failed("books", NO_ANSWER, THIRD);
  health.succeeded("authors");
  assert.deepEqual(health.state, { healthy: true }, "what fails after the end is no matter");
  assert.deepEqual(recovered, [SECOND]);
});
