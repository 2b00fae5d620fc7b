import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { inspect } from "node:util";
import { PgsyncError } from "../../src/errors/error.ts";
import { connectSearch } from "../../src/search/client.ts";
import { AnswerTooLargeError } from "../../src/search/read_answer.ts";
import { supported } from "../../src/search/detect.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { usedMemory } from "../support/memory.ts";
import { startSearchProxy } from "../support/search_proxy.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";
import { optionsFor } from "./setup.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

const server = await useElasticsearch();

test("the engine and its version are found, also where GET / is refused", async () => {
  const client = await connectSearch(optionsFor(server.url));
  try {
    assert.equal(client.engine, "elasticsearch");
    assert.match(client.version, /^\d+\.\d+\.\d+/);
    assert.equal(client.describe(), `Elasticsearch ${client.version}`);
    assert.ok((client.maxBodyBytes ?? 0) > 0);
    await client.ping();
  } finally {
    await client.close();
  }
});

test("an engine that cannot describe its node for now is asked again: what it takes would be unknown for as long as the run lasts", async () => {
  const proxy = await startSearchProxy(server.url);
  proxy.fail({ kind: "status", status: 429 }, /^\/_nodes/);
  await assert.rejects(connectSearch(optionsFor(proxy.url)), {
    code: "SEARCH_UNAVAILABLE",
    message: /describe its node/,
  });
  proxy.mend();
  const client = await connectSearch(optionsFor(proxy.url));
  assert.ok((client.maxBodyBytes ?? 0) > 0);
  await client.close();
  await proxy.stop();
});

test("answers of every status are returned, not thrown", async () => {
  const client = await connectSearch(optionsFor(server.url, { opaqueId: "tests", compress: true }));
  try {
    const missing = await client.request({ method: "GET", path: "/no-such-index", doing: "look" });
    assert.equal(missing.status, 404);
    assert.equal(missing.verdict, "index-missing");
    assert.throws(() => missing.expectOk(), { code: "INDEX_MISSING" });
    const index = server.indexName();
    const refused = await client.request({
      method: "PUT",
      path: `/${index}`,
      body: { mappings: { properties: { a: { type: "no-such-type" }, b: { type: "x".repeat(2000) } } } },
      doing: "create it",
    });
    assert.equal(refused.status, 400);
    assert.match(
      refused.refusal().message,
      /refused to create it \(HTTP 400, mapper_parsing_exception: .*type/,
    );
  } finally {
    await client.close();
  }
});

test("engines that are too old are refused", () => {
  const found = (engine: "elasticsearch" | "opensearch", version: string) => ({
    engine,
    version,
    maxBodyBytes: null,
  });
  for (const version of ["7.10.2", "7.17.29", "8.19.21", "9.5.3"]) supported(found("elasticsearch", version));
  for (const version of ["2.19.6", "3.8.0"]) supported(found("opensearch", version));
  // OpenSearch can be told to call itself 7.10.2.
  supported(found("opensearch", "7.10.2"));
  assert.throws(() => supported(found("elasticsearch", "7.9.3")), { code: "SEARCH_VERSION" });
  assert.throws(() => supported(found("opensearch", "1.3.20")), { code: "SEARCH_VERSION" });
});

test("a server that is not there: one sentence, without user and password", async () => {
  const proxy = await startTcpProxy(server.url, { shut: true });
  const url = proxy.url.replace("//", "//someone:secret@");
  const login = { kind: "basic", user: "someone", password: "secret" } as const;
  await assert.rejects(connectSearch(optionsFor(url, { login })), (error) => {
    assert.ok(error instanceof PgsyncError);
    assert.equal(error.code, "SEARCH_UNREACHABLE");
    assert.ok(error.message.includes(proxy.url), error.message);
    assert.doesNotMatch(error.message, /secret|someone/);
    return true;
  });
});

test("an error holds neither the body of the request nor the login, and costs no more for a large one", async () => {
  const proxy = await startTcpProxy(server.url);
  const login = { kind: "basic", user: "someone", password: "secret" } as const;
  const client = await connectSearch(optionsFor(proxy.url, { login, timeoutSeconds: 5 }));
  const body = Buffer.alloc(2 * 1024 * 1024, "body ");
  let looks = 0;
  // Whoever goes through the bytes one by one, to copy them or to look for secrets in them, comes by this, too.
  Object.defineProperty(body, "watched", { enumerable: true, get: () => ++looks });
  const send = () =>
    client.request({ method: "POST", path: "/_bulk", body, doing: "write", singleAttempt: true });
  try {
    await proxy.shut();
    // The first may go to the connection that is being cut, of which the runtime tells in many ways.
    await assert.rejects(send(), { code: "SEARCH_UNREACHABLE" });
    const before = usedMemory();
    for (let attempt = 0; attempt < 5; attempt++) {
      await assert.rejects(send(), (error) => {
        const shown = inspect(error, { depth: Infinity, showHidden: true, maxArrayLength: 10 });
        assert.match(shown, /ECONNREFUSED/, "what was wrong is still told");
        assert.doesNotMatch(shown, /secret|c29tZW9uZTpzZWNyZXQ=|Buffer|Uint8Array/);
        return true;
      });
    }
    assert.equal(looks, 0);
    assert.ok(usedMemory() - before < body.length, "nothing is kept");
  } finally {
    await client.close();
    await proxy.stop();
  }
});

test("a server that does not speak HTTP is not a search engine", async () => {
  await assert.rejects(connectSearch(optionsFor("ftp://127.0.0.1/")), { code: "USAGE" });
});

test("another node answers for one that is down", async () => {
  const down = await startTcpProxy(server.url, { shut: true });
  const client = await connectSearch(optionsFor("", { urls: [down.url, server.url] }));
  try {
    for (let n = 0; n < 4; n++) await client.ping();
  } finally {
    await client.close();
  }
});

test("a server that takes the request and never answers: the deadline ends it", async () => {
  const proxy = await startTcpProxy(server.url);
  const client = await connectSearch(optionsFor(proxy.url, { timeoutSeconds: 0.3 }));
  try {
    proxy.swallowAnswers(true);
    await assert.rejects(client.ping(), { code: "SEARCH_UNREACHABLE", message: /no answer within 0.3 s/ });
    proxy.swallowAnswers(false);
    await client.ping();
  } finally {
    await client.close();
    await proxy.stop();
  }
});

test("an answer that has no room is not read to its end, and its connection is closed", async () => {
  const proxy = await startTcpProxy(server.url);
  const client = await connectSearch(optionsFor(proxy.url));
  const index = server.indexName();
  try {
    const source = { text: "x".repeat(20_000_000) };
    const put = { method: "PUT", path: `/${index}/_doc/1`, body: source, doing: "write" } as const;
    (await client.request(put)).expectOk();
    const [told, untold] = [`/${index}/_doc/1`, "/_nodes/stats"];
    for (const path of [told, untold]) {
      const request = { method: "GET", path, doing: "read" } as const;
      const whole = await client.request(request);
      assert.equal(whole.headers["content-length"] === undefined, path === untold);
      const { length } = whole.bytes;
      await assert.rejects(
        client.request({ ...request, mostBytes: Math.floor(length / 2) }),
        AnswerTooLargeError,
      );
      await eventually(() => assert.equal(proxy.connections, 0), { what: "the connection to be closed" });
      const fitting = await client.request({ ...request, mostBytes: length * 2 });
      assert.ok(Math.abs(fitting.bytes.length - length) < 1_000);
      assert.equal(fitting.status, 200);
    }
  } finally {
    await client.close();
    await proxy.stop();
  }
});

test("an abort ends a request with the signal's reason, and no socket stays open", async () => {
  const proxy = await startTcpProxy(server.url);
  const client = await connectSearch(optionsFor(proxy.url));
  try {
    proxy.swallowAnswers(true);
    const control = new AbortController();
    const request = client.ping(control.signal);
    control.abort(new Error("stopping"));
    await assert.rejects(request, /stopping/);
    await assert.rejects(client.ping(control.signal), /stopping/);
    // Closing while a request is under way ends it, too.
    const hanging = client.ping();
    await Promise.all([assert.rejects(hanging, { code: "SEARCH_UNREACHABLE" }), client.close()]);
    while (proxy.connections > 0) await new Promise((resolve) => setImmediate(resolve));
  } finally {
    await client.close();
    await proxy.stop();
  }
});

test("an abort ends the look for a pinned authority, too", { timeout: 20_000 }, async () => {
  const silent = createServer(); // accepts, and never answers
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const address = silent.address();
  assert.ok(typeof address === "object" && address !== null);
  const pinned = optionsFor(`https://127.0.0.1:${address.port}`, { caFingerprint: "ab".repeat(32) });
  const control = new AbortController();
  setTimeout(() => control.abort(new Error("stopping")), 100);
  await assert.rejects(connectSearch(pinned, control.signal), /stopping/);
  await assert.rejects(connectSearch({ ...pinned, timeoutSeconds: 0.2 }), {
    code: "SEARCH_UNREACHABLE",
    message: /no handshake within 0.2 s/,
  });
  silent.close();
});

const openssl = (() => {
  try {
    return execFileSync("openssl", ["version"], { encoding: "utf8" }).length > 0;
  } catch {
    return false;
  }
})();

test("TLS: authority, fingerprint, client certificate, verification off", { skip: !openssl }, async () => {
  const folder = temporaryFolder("tls");
  after(() => removeFolder(folder));
  const file = (name: string) => join(folder, name);
  const run = (...args: string[]) => execFileSync("openssl", args, { encoding: "utf8", stdio: "pipe" });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  run(
    "req",
    "-x509",
    ...key,
    "-keyout",
    file("ca.key"),
    "-out",
    file("ca.crt"),
    "-days",
    "2",
    "-subj",
    "/CN=test",
  );
  run("req", ...key, "-keyout", file("key"), "-out", file("csr"), "-subj", "/CN=localhost");
  writeFileSync(file("ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1");
  const sign = ["-CA", file("ca.crt"), "-CAkey", file("ca.key"), "-CAcreateserial", "-days", "2"];
  run("x509", "-req", "-in", file("csr"), ...sign, "-out", file("crt"), "-extfile", file("ext"));
  const fingerprint =
    run("x509", "-in", file("ca.crt"), "-noout", "-fingerprint", "-sha256").trim().split("=")[1] ?? "";
  const read = (name: string) => readFileSync(file(name), "utf8");
  const tls = { key: read("key"), cert: read("crt") + read("ca.crt") };

  const proxy = await startTcpProxy(server.url, { tls });
  const strict = await startTcpProxy(server.url, { tls: { ...tls, ca: read("ca.crt") } });
  const connects = async (url: string, changes: Parameters<typeof optionsFor>[1]) => {
    const client = await connectSearch(optionsFor(url, changes));
    await client.close();
  };
  const refused = { code: "SEARCH_UNREACHABLE" };
  const authority = { caCertificate: file("ca.crt") };
  try {
    await assert.rejects(connects(proxy.url, {}), refused);
    await connects(proxy.url, authority);
    await connects(proxy.url, { verifyCertificates: false });
    await connects(proxy.url, { caFingerprint: fingerprint });
    const other = fingerprint.replace(/^../, (byte) => byte === "00" ? "01" : "00");
    await assert.rejects(connects(proxy.url, { caFingerprint: other }), refused);
    await assert.rejects(connects(strict.url, authority), refused);
    await connects(strict.url, { ...authority, clientCertificate: file("crt"), clientKey: file("key") });
    await assert.rejects(connects(proxy.url, { caCertificate: file("none") }), { code: "USAGE" });
  } finally {
    await proxy.stop();
    await strict.stop();
  }
});
