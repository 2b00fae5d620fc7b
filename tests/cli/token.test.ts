import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { tokenSetting } from "../../src/cli/token.ts";
import { PgsyncError } from "../../src/errors/error.ts";

const folder = mkdtempSync(join(tmpdir(), "pgsync-token-"));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, "token");
const TOKEN = "0123456789abcdef";

function fails(environment: Record<string, string>, words: RegExp): void {
  assert.throws(() => tokenSetting(environment), (error) => {
    assert.ok(error instanceof PgsyncError);
    assert.equal(error.code, "USAGE");
    assert.match(error.message, words);
    assert.doesNotMatch(`${error.message} ${error.remedy}`, /secret/);
    return true;
  });
}

describe("The token of the status server", () => {
  it("is a variable's, or a file's without the line break at its end", () => {
    assert.equal(tokenSetting({}), null);
    assert.equal(tokenSetting({ PGSYNC_TOKEN: "" }), null);
    assert.equal(tokenSetting({ PGSYNC_TOKEN: TOKEN }), TOKEN);
    for (const end of ["", "\n", "\r\n"]) {
      writeFileSync(file, TOKEN + end);
      assert.equal(tokenSetting({ PGSYNC_TOKEN_FILE: file }), TOKEN);
    }
  });

  it("is refused where it is short, empty, or cannot stand in a header; it is not in the message", () => {
    for (
      const token of ["secret", "secret secret secret", "secret-secret-sécret", `secret${"x".repeat(1024)}`]
    ) {
      fails({ PGSYNC_TOKEN: token }, /PGSYNC_TOKEN must hold 16/);
      writeFileSync(file, token);
      fails({ PGSYNC_TOKEN_FILE: file }, /PGSYNC_TOKEN_FILE must hold 16/);
    }
    writeFileSync(file, "");
    fails({ PGSYNC_TOKEN_FILE: file }, /must hold 16/);
  });

  it("is not guessed where the file cannot be read, or both are set", () => {
    fails({ PGSYNC_TOKEN_FILE: join(folder, "none") }, /cannot be read/);
    fails({ PGSYNC_TOKEN: TOKEN, PGSYNC_TOKEN_FILE: file }, /both set/);
  });
});
