/** The token of a run without a configured one: a file beside its checkpoint files, for the address that it listens on. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { after, beforeEach, describe, it } from "node:test";
import { keepRunToken, makeRunToken, readRunToken, runTokenFile } from "../../src/cli/run_token.ts";
import { failsWithUsage } from "./fails.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

const URL = "http://127.0.0.1:9399";
const root = temporaryFolder("run-token");
after(() => removeFolder(root));
const folder = join(root, "checkpoints");
const file = runTokenFile(folder, URL);
const token = makeRunToken();
beforeEach(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
});

describe("The token of a run", () => {
  it("is for the owner of the folder only, and gone with the run", () => {
    assert.equal(readRunToken(folder, URL), null);
    const forget = keepRunToken(folder, URL, token);
    const [name = "", ...others] = readdirSync(folder);
    assert.deepEqual(others, [], "nothing is left beside it");
    assert.ok(name.includes(hostname().replaceAll(/[^\w.]+/g, "-")), "several machines may share the folder");
    assert.equal(lstatSync(file).mode & 0o777, 0o600);
    assert.equal(readRunToken(folder, URL), token);
    forget();
    assert.equal(readRunToken(folder, URL), null);
    forget();
  });

  it("is read for no other address", () => {
    keepRunToken(folder, URL, token);
    assert.equal(readRunToken(folder, `${URL}/behind/a/path`), token);
    for (
      const other of [
        "http://127.0.0.1:9398",
        "http://127.0.0.2:9399",
        "http://[::1]:9399",
        "http://localhost:9399",
        "https://127.0.0.1:9399",
      ]
    ) {
      assert.equal(readRunToken(folder, other), null, other);
    }
    const another = makeRunToken();
    keepRunToken(folder, "http://[::1]:9399", another);
    assert.deepEqual([readRunToken(folder, URL), readRunToken(folder, "http://[::1]:9399")], [
      token,
      another,
    ]);
  });

  it("takes the place of whatever is there, and is not written through a link", () => {
    const victim = join(root, "victim");
    writeFileSync(victim, "precious");
    symlinkSync(victim, file);
    keepRunToken(folder, URL, token);
    assert.equal(readFileSync(victim, "utf8"), "precious");
    assert.ok(lstatSync(file).isFile());
    writeFileSync(file, token, { mode: 0o644 });
    const another = makeRunToken();
    keepRunToken(folder, URL, another);
    assert.deepEqual([readRunToken(folder, URL), lstatSync(file).mode & 0o777], [another, 0o600]);
  });

  it("is none where it cannot be kept", () => {
    keepRunToken(join(folder, "nowhere"), URL, token)();
    assert.equal(readRunToken(join(folder, "nowhere"), URL), null);
    mkdirSync(file);
    keepRunToken(folder, URL, token);
    assert.deepEqual(readdirSync(folder).length, 1);
    failsWithUsage(/cannot be read/, () => readRunToken(folder, URL));
  });

  it("is none where something else is in the file, and nothing is read by way of a link, without end, or waited for", () => {
    for (const text of ["", "secret", `${token}x`]) {
      writeFileSync(file, text);
      assert.equal(readRunToken(folder, URL), null);
    }
    rmSync(file);
    execFileSync("mkfifo", [file]);
    assert.equal(readRunToken(folder, URL), null);
    rmSync(file);
    writeFileSync(join(root, "another"), token);
    for (const target of [join(root, "another"), "/dev/zero"]) {
      symlinkSync(target, file);
      failsWithUsage(/cannot be read/, () => readRunToken(folder, URL));
      rmSync(file);
    }
    writeFileSync(file, "x".repeat(2_000_000));
    failsWithUsage(/cannot be read/, () => readRunToken(folder, URL));
  });
});
