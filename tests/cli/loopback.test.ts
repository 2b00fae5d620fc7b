import assert from "node:assert/strict";
import { test } from "node:test";
import { isLoopback } from "../../src/cli/loopback.ts";

test("a machine's own names and addresses are told from others", () => {
  for (const name of ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1", "[::1]"]) {
    assert.equal(isLoopback(name), true, name);
  }
  const others = ["127.evil.example", "localhost.evil.example", "1270.0.0.1"];
  for (const name of ["", "0.0.0.0", "::", "10.0.0.1", ...others]) {
    assert.equal(isLoopback(name), false, name);
  }
});
