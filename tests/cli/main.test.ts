import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { VERSION } from "../../src/version.ts";
import { pgsync, start } from "./process.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

const folder = temporaryFolder("cli");
after(() => removeFolder(folder));
const schema = join(folder, "my_schema.json");
writeFileSync(
  schema,
  JSON.stringify([{ database: "shop", index: "books", nodes: { table: "book", children: [] } }]),
);

test("--version", async () => {
  assert.deepEqual(await pgsync(["--version"]), { code: 0, stdout: `pgsync ${VERSION}\n`, stderr: "" });
});

test("--help is on stdout and exits 0; -h is the PostgreSQL host, as in PGSync", async () => {
  const help = await pgsync(["--help"]);
  assert.equal(help.code, 0);
  assert.match(help.stdout, /^Usage: pgsync/);
  assert.equal(help.stderr, "");
  const host = await pgsync(["-h"]);
  assert.equal(host.code, 2);
  assert.match(host.stderr, /'-h, --host <host>' argument missing/);
});

test("a mistyped option or command: what was meant, exit 2, nothing else", async () => {
  const option = await pgsync(["--confg", "x"]);
  assert.equal(option.code, 2);
  assert.match(option.stderr, /^error USAGE: Unknown option '--confg'\. Did you mean --config\?\n/);
  const command = await pgsync(["valdate"]);
  assert.equal(command.code, 2);
  assert.match(command.stderr, /^error USAGE: There is no command "valdate"; did you mean "validate"\?\n/);
  const order = await pgsync(["--config", schema, "validate"]);
  assert.equal(order.code, 2);
  assert.match(order.stderr, /The command comes first: pgsync validate/);
});

test("a schema file that is not there, and one that is wrong", async () => {
  const missing = await pgsync(["--config", join(folder, "no.json"), "--daemon"], { env: { PG_USER: "me" } });
  assert.equal(missing.code, 2);
  assert.match(missing.stderr, /error SCHEMA_UNREADABLE: /);
  assert.doesNotMatch(missing.stderr, /^ {4}at /m, "no stack trace");

  const broken = await pgsync(["validate", "--config", "-"], { input: '[{"database": "shop", "nods": {}}]' });
  assert.equal(broken.code, 2);
  assert.match(broken.stderr, /^error SCHEMA_INVALID/);
});

test("validate needs no server; underscores in options are PGSync's way", async () => {
  const { code, stdout, stderr } = await pgsync(["validate", "--config", schema, "--log_format", "json"]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /valid, 1 document\n {2}shop → books: 1 node, root public\.book\n$/);
});

test("the schema file may be named by SCHEMA, also in .env, of which one log line speaks", async () => {
  writeFileSync(join(folder, ".env"), `SCHEMA=${schema}\nOTHER=1\nPG_PASSWORD=secret\n`);
  const read = await pgsync(["validate"], { cwd: folder });
  assert.equal(read.code, 0, read.stderr);
  assert.match(read.stderr, /^\S+ INFO {2}cli +read from \.env: SCHEMA, PG_PASSWORD\n$/);
  const not = await pgsync(["validate", "--no-env-file"], { cwd: folder });
  assert.equal(not.code, 2);
  assert.match(not.stderr, /No schema file is named/);
  const off = await pgsync(["validate"], { cwd: folder, env: { PGSYNC_ENV_FILE: "off" } });
  assert.equal(off.code, 2);
});

test("with --log-format json the error is a JSON line too", async () => {
  const { code, stdout, stderr } = await pgsync(["validate", "--log-format", "json"]);
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.equal(JSON.parse(stderr).properties.code, "USAGE");
});

test("--password without a terminal: a sentence", async () => {
  const { code, stderr } = await pgsync(["plan", "-c", schema, "-u", "me", "--password"]);
  assert.equal(code, 2);
  assert.match(stderr, /error USAGE: --password asks for the password on a terminal/);
});

test("one slot cannot serve two databases", async () => {
  const two = JSON.stringify(["a", "b"].map((database) => ({ database, nodes: { table: "book" } })));
  const { code, stderr } = await pgsync(["plan", "-c", "-", "-u", "me", "--slot", "s"], { input: two });
  assert.equal(code, 2);
  assert.match(stderr, /names 2: a, b/);
});

test("a fault of its own is one sentence too, without a stack trace, and exit 70", async () => {
  const silent = createServer(); // accepts, and never answers
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const address = silent.address();
  assert.ok(typeof address === "object" && address !== null);
  const { code, stderr } = await start("./stray_rejection.ts", [`http://127.0.0.1:${address.port}`]).ended;
  silent.close();
  assert.equal(code, 70, stderr);
  assert.match(stderr, /^error INTERNAL: nobody caught this\n {2}Report it[^\n]*\n$/);
});
