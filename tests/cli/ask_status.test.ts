import assert from "node:assert/strict";
import { test } from "node:test";
import { statusUrl } from "../../src/cli/ask_status.ts";
import { failsWithUsage } from "./fails.ts";

test("the run's address is --url, PGSYNC_STATUS_URL, or where --listen says", () => {
  assert.equal(
    statusUrl({ url: "https://h/pgsync/" }, { PGSYNC_STATUS_URL: "http://other" }),
    "https://h/pgsync",
  );
  assert.equal(statusUrl({}, { PGSYNC_STATUS_URL: "http://h:1" }), "http://h:1");
  assert.equal(statusUrl({}, { PGSYNC_LISTEN: ":8080" }), "http://127.0.0.1:8080");
  assert.equal(statusUrl({}, {}), "http://127.0.0.1:9399");
  failsWithUsage(/switched off/, () => statusUrl({ listen: "off" }, {}));
});

test("an address with a login is refused, and not repeated", () => {
  for (const url of ["http://me:secret@h", "http://secret@h", "ftp://me:secret@h", "secret"]) {
    failsWithUsage(/--url must/, () => statusUrl({ url }, {}));
  }
});
