import assert from "node:assert/strict";
import { test } from "node:test";
import { searchOptions } from "../../src/cli/search_settings.ts";
import { searchWarnings, secretArguments } from "../../src/cli/secret_warnings.ts";
import type { Environment } from "../../src/cli/variables.ts";

const warnings = (environment: Environment) => searchWarnings(searchOptions(environment));

test("a login that leaves this machine without encryption is warned of", () => {
  const ELASTICSEARCH_URL = "https://me:secret@a,http://b:9200";
  assert.deepEqual(warnings({ ELASTICSEARCH_URL }), [
    "The login to the search engine goes to http://b:9200 without encryption: use https",
  ]);
  assert.deepEqual(warnings({ ELASTICSEARCH_URL: "http://b" }), [], "there is no login");
  for (const host of ["localhost", "127.0.0.1", "[::1]"]) {
    assert.deepEqual(warnings({ ELASTICSEARCH_URL: `http://me:secret@${host}:9200` }), [], host);
  }
});

test("a certificate that nobody checks is warned of", () => {
  const unchecked = { ELASTICSEARCH_URL: "https://b", ELASTICSEARCH_VERIFY_CERTS: "false" };
  assert.match(warnings(unchecked).join(), /certificate is not checked/);
  assert.deepEqual(warnings({ ...unchecked, ELASTICSEARCH_SSL_ASSERT_FINGERPRINT: "ab" }), []);
  assert.deepEqual(warnings({ ...unchecked, ELASTICSEARCH_URL: "https://localhost" }), []);
});

test("a secret on the command line is warned of, and not repeated", () => {
  for (const schemaUrl of ["https://me:secret@h/s.json", "https://h/s.json?X-Amz-Signature=secret"]) {
    const [warning = ""] = secretArguments({ schemaUrl });
    assert.match(warning, /SCHEMA_URL_FILE/);
    assert.doesNotMatch(warning, /secret@|=secret/);
  }
  assert.deepEqual(secretArguments({ schemaUrl: "https://h/s.json" }), []);
  assert.deepEqual(secretArguments({}), []);
});
