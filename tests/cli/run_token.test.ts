/** The token that a run without a configured one keeps beside its checkpoint files. */
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, describe, it } from "node:test";
import { keepRunToken, readRunToken, runTokenFile } from "../../src/cli/run_token.ts";
import { PgsyncError } from "../../src/errors/error.ts";

const folder = mkdtempSync(join(tmpdir(), "pgsync-run-token-"));
after(() => rmSync(folder, { recursive: true }));
const file = runTokenFile(folder);
beforeEach(() => rmSync(file, { recursive: true, force: true }));

function mode(): number {
  return statSync(file).mode & 0o777;
}

describe("The token of a run", () => {
  it("is made once, for the owner of the folder only, and read by whoever asks", () => {
    assert.equal(readRunToken(folder), null);
    const token = keepRunToken(folder);
    assert.match(token ?? "", /^[0-9a-f]{64}$/);
    assert.equal(mode(), 0o600);
    assert.equal(keepRunToken(folder), token, "another run keeps it");
    assert.equal(readRunToken(folder), token);
    assert.deepEqual(readdirSync(folder), ["pgsync.token"], "nothing is left beside it");
  });

  it("is closed to others where somebody has opened it, and made anew where it is none", () => {
    const token = keepRunToken(folder);
    chmodSync(file, 0o644);
    assert.equal(keepRunToken(folder), token);
    assert.equal(mode(), 0o600);
    for (const text of ["", "secret", `${token}x`]) {
      writeFileSync(file, text);
      assert.equal(readRunToken(folder), null);
      const other = keepRunToken(folder);
      assert.match(other ?? "", /^[0-9a-f]{64}$/);
      assert.notEqual(other, token);
      assert.equal(readFileSync(file, "utf8"), `${other}\n`);
      assert.equal(mode(), 0o600);
    }
  });

  it("is none where it cannot be kept or read", () => {
    assert.equal(keepRunToken(join(folder, "nowhere")), null);
    assert.equal(readRunToken(join(folder, "nowhere")), null);
    const broken = join(folder, "broken");
    writeFileSync(broken, "");
    assert.equal(keepRunToken(broken), null, "the folder is a file");
    assert.throws(() => readRunToken(broken), (error) => {
      assert.ok(error instanceof PgsyncError);
      assert.deepEqual([error.code, /cannot be read/.test(error.message)], ["USAGE", true]);
      return true;
    });
    rmSync(broken);
  });
});
