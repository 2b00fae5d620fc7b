import assert from "node:assert/strict";
import { test } from "node:test";
import { engineError, judge, refusal } from "../../src/search/errors.ts";

test("status and error type decide what an answer was", () => {
  assert.equal(judge(200, null), "ok");
  for (const status of [408, 429, 500, 502, 503, 504]) assert.equal(judge(status, null), "temporary");
  assert.equal(judge(401, "security_exception"), "login");
  assert.equal(judge(403, "security_exception"), "login");
  assert.equal(judge(404, "index_not_found_exception"), "index-missing");
  assert.equal(judge(404, null), "refused");
  assert.equal(judge(413, null), "too-large");
  assert.equal(judge(400, "mapper_parsing_exception"), "refused");
  assert.equal(judge(500, "fail_processor_exception"), "refused", "a pipeline says so of the document");
});

test("an index that is blocked or closed is an outage, whatever the status", () => {
  assert.equal(judge(403, "cluster_block_exception"), "temporary");
  assert.equal(judge(400, "index_closed_exception"), "temporary");
});

test("the sentence holds the engine's reason and the cause underneath", () => {
  const error = engineError(400, {
    error: {
      type: "mapper_parsing_exception",
      reason: "failed to parse field [n]",
      caused_by: { type: "illegal_argument_exception", reason: 'For input string: "abc"' },
    },
    status: 400,
  });
  assert.deepEqual(error, {
    type: "mapper_parsing_exception",
    reason: 'failed to parse field [n] (For input string: "abc")',
  });
  const thrown = refusal("refused", 400, error, 'create the index "books"');
  assert.equal(thrown.code, "SEARCH_REFUSED");
  assert.match(
    thrown.message,
    /^The search engine refused to create the index "books" \(HTTP 400, mapper_parsing/,
  );
});

test("text in place of JSON, as proxies and security plugins send, still makes a sentence", () => {
  assert.deepEqual(engineError(502, undefined), { type: "http_502", reason: "HTTP status 502" });
  assert.deepEqual(engineError(405, { error: "Incorrect method" }), {
    type: "http_405",
    reason: "Incorrect method",
  });
  assert.equal(refusal("temporary", 503, engineError(503, null), "write").code, "SEARCH_UNAVAILABLE");
  assert.equal(refusal("login", 403, engineError(403, null), "write").code, "SEARCH_LOGIN");
  assert.equal(refusal("index-missing", 404, engineError(404, null), "write").code, "INDEX_MISSING");
});
