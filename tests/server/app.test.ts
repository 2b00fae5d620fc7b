import assert from "node:assert/strict";
import { test } from "node:test";
import { isLoopback } from "../../src/cli/loopback.ts";
import { statusJson } from "../../src/server/status_json.ts";
import type { RunStatus } from "../../src/status/status.ts";
import { LOADING, run, sampleApp, STREAMING } from "./sample_status.ts";

function app(status: () => RunStatus) {
  return sampleApp({ status });
}

test("/health says 200 while the process lives, whatever the run's state", async () => {
  const response = await app(() => run(LOADING)).request("/health");
  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), { status: "alive" });
});

test("/ready says 200 when everything is ready", async () => {
  const response = await app(() => run(STREAMING)).request("/ready");
  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), { status: "ready", ready: true, notReady: [] });
});

test("/ready of a process that stands by says so with 503, and with 200 to whoever takes that for well", async () => {
  const standby = run({ ...LOADING, phase: "standby", standby: true, notReady: ["It stands by."] });
  const answers = ["/ready", "/ready?standby=ok", "/ready?standby=no"].map(async (path) => {
    const response = await app(() => standby).request(path);
    assert.deepEqual(await response.json(), { status: "standby", ready: false, notReady: ["It stands by."] });
    return response.status;
  });
  assert.deepEqual(await Promise.all(answers), [503, 200, 503]);
  assert.equal((await app(() => run(LOADING)).request("/ready?standby=ok")).status, 503);
  assert.match(await (await app(() => standby).request("/")).text(), /standing by/);
  assert.equal((await app(() => standby).request("/health")).status, 200);
});

test("/ready says 503 with the reasons while one database is not", async () => {
  const response = await app(() => run(STREAMING, LOADING)).request("/ready");
  assert.equal(response.status, 503);
  assert.deepEqual(await response.json(), {
    status: "not-ready",
    ready: false,
    notReady: ["books is being loaded"],
  });
});

test("/ready tells phases and codes only to whoever may not read the status", async () => {
  const token = "0123456789abcdef";
  const status = () => run(STREAMING, { ...LOADING, notReady: ["Halted: Key (email)=(ada@example.com)"] });
  const guarded = sampleApp({ status, access: { token, guardsStatus: true, isOwnName: () => true } });
  const asked = await guarded.request("/ready");
  assert.equal(asked.status, 503);
  assert.deepEqual(await asked.json(), {
    status: "not-ready",
    ready: false,
    notReady: ["loading, last fault: SEARCH_UNREACHABLE"],
  });
  const shown = await guarded.request("/ready", { headers: { authorization: `Bearer ${token}` } });
  assert.match(await shown.text(), /ada@example\.com/);
  const local = sampleApp({ status, access: { token, guardsStatus: false, isOwnName: isLoopback } });
  assert.match(await (await local.request("http://127.0.0.1:9399/ready")).text(), /ada@example\.com/);
  const rebound = await local.request("http://evil.example:9399/ready");
  assert.equal(rebound.status, 503, "a probe under any name goes by the status");
  assert.doesNotMatch(await rebound.text(), /ada@example\.com/);
  assert.match(
    await (await sampleApp({
      status: () => ({ ...run(), ready: false, notReady: ["The run is starting."] }),
      access: { token, guardsStatus: true, isOwnName: () => true },
    }).request("/ready")).text(),
    /\["starting"\]/,
  );
});

test("a server for its own machine tells nothing under the name of another one", async () => {
  const server = (guardsStatus: boolean) =>
    sampleApp({ access: { token: "0123456789abcdef", guardsStatus, isOwnName: isLoopback } });
  const status = async (path: string, host: string, guarded = false) =>
    (await server(guarded).request(`http://${host}${path}`)).status;
  for (const path of ["/", "/status", "/metrics"]) {
    for (const host of ["localhost:9399", "127.0.0.1:9399", "[::1]:9399", "127.0.0.1"]) {
      assert.equal(await status(path, host), 200, `${host}${path}`);
    }
    for (const host of ["evil.example:9399", "127.0.0.1.evil.example", "10.0.0.1", "host.invalid"]) {
      assert.equal(await status(path, host), 421, `${host}${path}`);
    }
  }
  for (const path of ["/health", "/ready"]) assert.equal(await status(path, "evil.example"), 200, path);
  assert.equal(await status("/metrics", "pgsync.example", true), 200, "with a token, behind a proxy");
});

test("/status is JSON: positions as PostgreSQL prints them, sizes in bytes, times in UTC", async () => {
  const response = await app(() => run(LOADING)).request("/status");
  assert.equal(response.headers.get("content-type"), "application/json");
  const status = statusJson.parse(await response.json());
  assert.equal(status.version, "9.9.9");
  const [database] = status.databases;
  assert.equal(database?.stream.confirmed, "16/B374D800");
  assert.equal(database.stream.lagBytes, 0x200);
  assert.equal(database.stream.safeBytes, 1_000_000);
  assert.equal(database.indices[0]?.load.finishedAt, "2026-01-01T00:00:05.000Z");
  assert.equal(database.faults[0]?.code, "SEARCH_UNREACHABLE");
  assert.deepEqual(database.warnings, ["Two rows of <view> have one key."]);
});

test("the lag in seconds is 0 when everything received is confirmed, else the age of the last change", async () => {
  const lag = async (status: RunStatus) =>
    statusJson.parse(await (await app(() => status).request("/status")).json()).databases[0]?.stream
      .lagSeconds;
  assert.equal(await lag(run(STREAMING)), 0);
  const behind = { ...LOADING.stream, lastCommitAt: new Date(Date.now() - 90_000) };
  const seconds = await lag(run({ ...LOADING, stream: behind }));
  assert.ok(typeof seconds === "number" && seconds >= 90 && seconds < 100, String(seconds));
  assert.equal(await lag(run({ ...LOADING, stream: { ...behind, lastCommitAt: null } })), null);
});

test("/ is a page for people; what comes from outside is escaped", async () => {
  const response = await app(() => run(LOADING)).request("/");
  assert.match(response.headers.get("content-type") ?? "", /^text\/html/);
  const page = await response.text();
  assert.match(page, /not ready/);
  assert.match(page, /20,345/);
  assert.match(page, /The search engine &lt;script&gt; did not answer/);
  assert.match(page, /Two rows of &lt;view&gt; have one key/);
  assert.doesNotMatch(page, /<script/);
  assert.doesNotMatch(page, /(src|href)="(https?:)?\/\//, "no assets from elsewhere");
});

test("/metrics is Prometheus' text format", async () => {
  const response = await app(() => run(STREAMING)).request("/metrics");
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
});

test("answers are not cached, and nothing may be loaded into the page", async () => {
  const { headers } = await app(() => run(STREAMING)).request("/");
  assert.equal(headers.get("cache-control"), "no-store");
  assert.match(headers.get("content-security-policy") ?? "", /default-src 'none'.*form-action 'none'/);
  assert.equal(headers.get("x-frame-options"), "DENY");
  assert.equal(headers.get("x-content-type-options"), "nosniff");
  assert.equal(headers.get("referrer-policy"), "no-referrer");
  assert.equal(headers.get("cross-origin-resource-policy"), "same-origin");
});

test("another path is 404 and names those that there are; a POST changes nothing", async () => {
  const server = app(() => run(STREAMING));
  const missing = await server.request("/healthz");
  assert.equal(missing.status, 404);
  assert.match(await missing.text(), /\/health/);
  assert.equal((await server.request("/status", { method: "POST" })).status, 404);
});

test("a status that cannot be told is a 500 without its reason", async () => {
  const response = await app(() => {
    throw new Error("postgresql://u:secret@h/db");
  }).request("/status");
  assert.equal(response.status, 500);
  assert.doesNotMatch(await response.text(), /secret/);
});
