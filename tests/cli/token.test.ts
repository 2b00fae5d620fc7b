import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { tokenSetting } from "../../src/cli/token.ts";
import { failsWithUsage } from "./fails.ts";

const TOKEN = "0123456789abcdef";

describe("The token of the status server", () => {
  it("is a variable's", () => {
    assert.equal(tokenSetting({}), null);
    assert.equal(tokenSetting({ PGSYNC_TOKEN: "" }), null);
    assert.equal(tokenSetting({ PGSYNC_TOKEN: TOKEN }), TOKEN);
  });

  it("is refused where it is short, or cannot stand in a header; it is not in the message", () => {
    for (
      const token of ["secret", "secret secret secret", "secret-secret-sécret", `secret${"x".repeat(1024)}`]
    ) failsWithUsage(/PGSYNC_TOKEN must hold 16/, () => tokenSetting({ PGSYNC_TOKEN: token }));
  });
});
