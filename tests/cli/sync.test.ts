import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { pgsync, start } from "./process.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

/** For the token that a run keeps where its checkpoint files are. */
const folder = temporaryFolder("sync");
after(() => removeFolder(folder));

const SCHEMA = JSON.stringify([{ database: "shop", index: "books", nodes: { table: "book" } }]);

function obedientRun(env: Record<string, string>) {
  return start("./obedient_run.ts", [], {
    env: { PG_USER: "me", CHECKPOINT_PATH: folder, LISTEN: "127.0.0.1:0", ...env },
    input: SCHEMA,
  });
}

async function statusUrl(running: ReturnType<typeof obedientRun>): Promise<string> {
  const [, url = ""] = await running.stderrMatches(/status at (\S+)/);
  return url;
}

test("a run that has caught up exits 0", async () => {
  const { code, stdout, stderr } = await obedientRun({ ENDS_BY_ITSELF: "1" }).ended;
  assert.equal(code, 0, stderr);
  assert.equal(stdout, "");
  assert.match(stderr, /running me daemon=false/);
  assert.match(stderr, /caught up, done/);
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`a daemon that is stopped by ${signal} ends well and exits 0`, async () => {
    const running = obedientRun({ DAEMON: "1" });
    await running.stderrMatches(/running me daemon=true/);
    running.kill(signal);
    const { code, stderr } = await running.ended;
    assert.equal(code, 0, stderr);
    assert.match(stderr, /asked to stop[^]*stopped by SIG/);
  });
}

test("a run that is stopped before it is done says so by its exit code", async () => {
  const running = obedientRun({});
  await running.stderrMatches(/running/);
  running.kill("SIGTERM");
  assert.equal((await running.ended).code, 143);
});

test("a second signal ends it at once", async () => {
  const running = obedientRun({ DAEMON: "1", STUBBORN: "1" });
  await running.stderrMatches(/running/);
  running.kill("SIGTERM");
  await running.stderrMatches(/asked to stop/);
  running.kill("SIGINT");
  assert.equal((await running.ended).code, 130);
});

test("a run that does not listen is ended all the same, before a service manager would kill it", async () => {
  const running = obedientRun({ DAEMON: "1", STUBBORN: "1" });
  await running.stderrMatches(/running/);
  const start = performance.now();
  running.kill("SIGTERM");
  const { code, stderr } = await running.ended;
  assert.equal(code, 0, stderr);
  assert.match(stderr, /did not end in good order/);
  assert.ok(performance.now() - start < 10_000);
});

test("a run that halts ends with the exit code of its error", async () => {
  const running = obedientRun({ DAEMON: "1", HALTS: "1" });
  await running.stderrMatches(/running/);
  running.kill("SIGTERM");
  const { code, stderr } = await running.ended;
  assert.equal(code, 5);
  assert.match(stderr, /SLOT_LOST/);
});

test("port 0 takes a free port, the log says which, and `pgsync status` reads it", async () => {
  const running = obedientRun({ DAEMON: "1" });
  const url = await statusUrl(running);
  await running.stderrMatches(/running/);
  const metrics = await (await fetch(`${url}/metrics`)).text();
  assert.match(metrics, /^pgsync_changes_total\{table="public.book",operation="insert"\} 5$/m);

  const table = await pgsync(["status", "--url", url]);
  assert.equal(table.code, 0, table.stderr);
  assert.match(table.stdout, /^pgsync \S+, ready, up /);
  assert.match(table.stdout, /shop: streaming\n {2}PostgreSQL 17\.4 → Elasticsearch 8\.19\.21/);
  assert.match(table.stdout, /books +done +20,000 +20,345 +6 +2/);

  const json = await pgsync(["status", "--url", url, "--json", "--ready"]);
  assert.equal(json.code, 0, json.stderr);
  assert.equal(JSON.parse(json.stdout).databases[0].stream.confirmed, "16/B374D900");

  running.kill("SIGTERM");
  await running.ended;
  const gone = await pgsync(["status", "--url", url]);
  assert.equal(gone.code, 3);
  assert.match(gone.stderr, /^error STATUS_UNREACHABLE: No running pgsync answers at http:/);
});

test("`pgsync status` exits 5 for a run that has halted", async () => {
  const running = obedientRun({ DAEMON: "1", HALTS: "1" });
  const url = await statusUrl(running);
  const { code, stdout } = await pgsync(["status"], { env: { PGSYNC_STATUS_URL: url } });
  running.kill("SIGTERM");
  await running.ended;
  assert.equal(code, 5);
  assert.match(stdout, /not ready[^]*shop: halted/);
});

test("a token that is configured is demanded, and `pgsync status` and `dead-letters` show it", async () => {
  const PGSYNC_TOKEN = "0123456789abcdef";
  const running = obedientRun({ DAEMON: "1", PGSYNC_TOKEN });
  const PGSYNC_STATUS_URL = await statusUrl(running);
  for (const env of [{ PGSYNC_STATUS_URL }, { PGSYNC_STATUS_URL, PGSYNC_TOKEN: `${PGSYNC_TOKEN}0` }]) {
    const refused = await pgsync(["status"], { env });
    assert.equal(refused.code, 3, refused.stderr);
    assert.match(refused.stderr, /^error STATUS_LOGIN: .+\n {2}Set PGSYNC_TOKEN/);
  }
  const env = { PGSYNC_STATUS_URL, PGSYNC_TOKEN, PG_USER: "me" };
  const allowed = await pgsync(["status"], { env });
  assert.equal(allowed.code, 0, allowed.stderr);
  // This run follows no index, and says so: the question has come through.
  for (const args of [["list"], ["retry", "--all"], ["drop", "--id", "1"]]) {
    const asked = await pgsync(["dead-letters", ...args, "-c", "-"], { env, input: SCHEMA });
    assert.equal(asked.code, 4, asked.stderr);
    assert.match(asked.stderr, /^error REQUEST_REFUSED: This run does not follow an index "books"/m);
  }
  running.kill("SIGTERM");
  const { stderr } = await running.ended;
  assert.doesNotMatch(stderr, new RegExp(PGSYNC_TOKEN));
});

test("a run without a configured token has one of its own, another at each start, and tells nobody", async () => {
  const own = join(folder, "own");
  mkdirSync(own);
  const files = () => readdirSync(own).filter((name) => name.endsWith(".token"));
  const tokens: string[] = [];
  while (tokens.length < 2) {
    const running = obedientRun({ DAEMON: "1", CHECKPOINT_PATH: own });
    const url = await statusUrl(running);
    await running.stderrMatches(/running/);
    const [name = "", ...others] = files();
    assert.deepEqual(others, []);
    const token = readFileSync(join(own, name), "utf8").trim();
    assert.match(token, /^[0-9a-f]{64}$/);
    assert.equal(statSync(join(own, name)).mode & 0o777, 0o600);
    tokens.push(token);
    for (const path of ["/", "/status", "/ready", "/metrics", "/dead-letters", "/nothing"]) {
      const response = await fetch(`${url}${path}`);
      assert.ok(!`${JSON.stringify([...response.headers])}${await response.text()}`.includes(token), path);
    }
    const headers = { authorization: `Bearer ${token}` };
    assert.equal((await fetch(`${url}/dead-letters`, { headers })).status, 404, "this run follows no index");
    running.kill("SIGTERM");
    const { stdout, stderr } = await running.ended;
    assert.ok(!`${stdout}${stderr}`.includes(token));
    assert.deepEqual(files(), [], "it is taken with nothing any more");
  }
  assert.equal(new Set(tokens).size, 2);
});

test("an address in use: a daemon does not start", async () => {
  const first = obedientRun({ DAEMON: "1" });
  const url = await statusUrl(first);
  const second = await obedientRun({ DAEMON: "1", LISTEN: new URL(url).host }).ended;
  first.kill("SIGTERM");
  await first.ended;
  assert.equal(second.code, 4);
  assert.match(second.stderr, /LISTEN/);
});
