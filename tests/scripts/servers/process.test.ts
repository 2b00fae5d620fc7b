/** Whatever way a script ends, it leaves neither processes nor folders behind. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { constants, tmpdir } from "node:os";
import { chmodSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { isAlive } from "../../../scripts/servers/process.ts";
import { eventually } from "../../support/eventually.ts";

const SCRIPT = fileURLToPath(new URL("ending_script.ts", import.meta.url));
const hasSetpriv =
  spawnSync("setpriv", ["--pdeathsig", "TERM", "--", "true"], { stdio: "ignore" }).status === 0;

/** Of these tests alone: every script that makes a folder removes those that were left behind beside it. */
const FOLDERS = mkdtempSync(join(tmpdir(), "pgsync-process-"));
// The servers' user passes through.
chmodSync(FOLDERS, 0o755);
after(() => rmSync(FOLDERS, { recursive: true }));

/** Starts the script, sends a signal once it has started its child, and waits for its end. */
async function run(way: string, signal?: NodeJS.Signals) {
  const script = spawn(process.execPath, ["run", "-A", "--no-check", SCRIPT, way], {
    env: { ...process.env, TMPDIR: FOLDERS },
  });
  const written = { stdout: "", stderr: "" };
  script.stdout.on("data", (text) => written.stdout += String(text));
  script.stderr.on("data", (text) => written.stderr += String(text));
  const ended = new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    script.once("close", (...how) => resolve(how))
  );
  const [line = ""] = await eventually(() => /^\{.*\}$/m.exec(written.stdout) ?? false, {
    what: "its first line",
  });
  const started: { child: number; folder: string } = JSON.parse(line);
  if (signal !== undefined) script.kill(signal);
  const [code, by] = await ended;
  // Deno takes the exit code 130 for an end by SIGINT, as shells print it.
  return { ...started, ...written, code: by === null ? code : 128 + constants.signals[by] };
}

for (
  const [way, code, signal] of [
    ["return", 3],
    ["throw", 1],
    ["reject", 1],
    ["wait", 130, "SIGINT"],
    ["wait", 143, "SIGTERM"],
    ["wait", 129, "SIGHUP"],
  ] as const
) {
  test(`${signal ?? way}: cleaned up, exit code ${code}`, async () => {
    const ended = await run(way, signal);
    assert.equal(ended.code, code, ended.stderr);
    assert.match(ended.stdout, /cleanup/);
    if (way === "throw") assert.match(ended.stderr, /thrown/);
    if (way === "reject") assert.match(ended.stderr, /rejected/);
    assert.equal(isAlive(ended.child), false);
    assert.equal(existsSync(ended.folder), false);
  });
}

test("an exit in the middle leaves nothing either", async () => {
  const ended = await run("exit");
  assert.equal(ended.code, 4);
  await eventually(() => !isAlive(ended.child));
  assert.equal(existsSync(ended.folder), false);
});

test(
  "after SIGKILL the kernel ends the child, and the next run removes the folder",
  { skip: !hasSetpriv },
  async () => {
    const killed = await run("wait", "SIGKILL");
    await eventually(() => !isAlive(killed.child));
    assert.ok(existsSync(killed.folder));
    await run("return");
    assert.equal(existsSync(killed.folder), false);
  },
);
