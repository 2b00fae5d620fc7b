/** What a runtime does between a socket's data and the promises that they settle differs. */
import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { bunPath } from "../../scripts/bun.ts";
import { PROJECT } from "../../scripts/project.ts";
import { runToEnd } from "../../scripts/servers/process.ts";
import { usePostgres } from "../support/postgres.ts";

const runtimes: Record<string, () => Promise<readonly string[]>> = {
  Deno: () => Promise.resolve([process.execPath, "run", "-A"]),
  Bun: async () => [await bunPath()],
};

for (const [name, runtime] of Object.entries(runtimes)) {
  test(`a COPY whose error arrives together with its beginning is an error like any other, on ${name}`, async () => {
    const [command = "", ...prefix] = await runtime();
    const { url } = await usePostgres();
    const args = [...prefix, join(PROJECT, "tests", "runtime", "early_copy_error.ts"), url];
    assert.deepEqual(JSON.parse(await runToEnd({ command, args, cwd: PROJECT })), [["1"], "22012", "usable"]);
  });
}
