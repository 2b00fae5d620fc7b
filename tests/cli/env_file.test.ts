import assert from "node:assert/strict";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { mergeEnvironment, withEnvFile } from "../../src/cli/env_file.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

const folder = temporaryFolder("env");
after(() => removeFolder(folder));

test("only variables of ours and PGSync's are taken, and the real environment wins", () => {
  const { environment, taken } = mergeEnvironment(
    { PG_HOST: "real", PG_USER: "", PATH: "/bin" },
    {
      PG_HOST: "file",
      PG_USER: "me",
      PG_PORT: "",
      REDIS_URL: "redis://",
      PGSYNC_LISTEN: "off",
      PATH: "/evil",
      NODE_OPTIONS: "x",
    },
  );
  assert.deepEqual(taken, ["PG_USER", "REDIS_URL", "PGSYNC_LISTEN"]);
  assert.deepEqual(environment, {
    PG_HOST: "real",
    PG_USER: "me",
    PATH: "/bin",
    REDIS_URL: "redis://",
    PGSYNC_LISTEN: "off",
  });
});

test("quotes, comments and export are understood", () => {
  const path = join(folder, "quotes.env");
  writeFileSync(path, "# ours\nexport PG_USER='me' # who\nPG_PASSWORD=\"p#w d\"\n\nSCHEMA = s.json\n");
  const { environment, file } = withEnvFile({}, path);
  assert.deepEqual(environment, { PG_USER: "me", PG_PASSWORD: "p#w d", SCHEMA: "s.json" });
  assert.deepEqual(file, { path, taken: ["PG_USER", "PG_PASSWORD", "SCHEMA"] });
});

test("a file that is named must be there; no .env is no error; false reads none", () => {
  assert.throws(() => withEnvFile({}, join(folder, "missing")), { code: "USAGE" });
  assert.deepEqual(withEnvFile({ A: "1" }, false), { environment: { A: "1" }, file: null });
});

test("a file of 100 MB, or a device without end, is refused, and not read to its end", () => {
  const large = join(folder, "large.env");
  writeFileSync(large, "");
  truncateSync(large, 100 * 1024 * 1024);
  const before = performance.now();
  for (const path of [large, "/dev/zero"]) {
    assert.throws(() => withEnvFile({}, path), {
      code: "USAGE",
      message: `The environment file ${path} is larger than 1048576 bytes.`,
    });
  }
  assert.ok(performance.now() - before < 1_000);
});
