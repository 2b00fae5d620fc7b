/** One program, three ways to run it: from the sources under Deno, from the sources under Bun, and as the executable that `task build` makes. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, test } from "node:test";
import { build } from "../../scripts/build.ts";
import { bunPath } from "../../scripts/bun.ts";
import { PROJECT } from "../../scripts/project.ts";
import { removeFolder, runToEnd, temporaryFolder } from "../../scripts/servers/process.ts";

/** The permissions that the program needs under Deno; README and the task `dev` name the same. */
const PERMISSIONS = [
  "--allow-net",
  "--allow-env",
  "--allow-read",
  "--allow-write",
  "--allow-sys=osRelease,hostname",
];

/** A command line to which the program's arguments are added. */
type Program = readonly [command: string, ...args: string[]];

const cli = join(PROJECT, "cli.ts");
const empty = temporaryFolder("runtime");
after(() => removeFolder(empty));

const programs: { name: string; program: () => Promise<Program> }[] = [
  {
    name: "Deno",
    program: () => Promise.resolve([process.execPath, "run", "--no-prompt", ...PERMISSIONS, cli]),
  },
  { name: "Bun", program: async () => [await bunPath(), cli] },
  { name: "the executable", program: async () => [await build({ outfile: join(empty, "pgsync") })] },
];

for (const { name, program } of programs) {
  describe(`pgsync, run by ${name}`, () => {
    let command = "";
    let prefix: string[] = [];
    before(async () => {
      [command, ...prefix] = await program();
    });
    /** Runs it without anything of ours in the environment or the working directory. */
    const run = (...args: string[]) =>
      runToEnd({ command, args: [...prefix, ...args], cwd: empty, env: { HOME: empty, NO_COLOR: "1" } });

    test("says the version of deno.json", async () => {
      const { version } = JSON.parse(readFileSync(join(PROJECT, "deno.json"), "utf8"));
      assert.match(await run("--version"), new RegExp(`\\b${version.replaceAll(".", "\\.")}\\b`));
    });
  });
}
