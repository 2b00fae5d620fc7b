import assert from "node:assert/strict";
import process from "node:process";
import { after, test } from "node:test";
import { BulkWriter } from "../../src/search/bulk_writer.ts";
import { connectSearch, type SearchClient } from "../../src/search/client.ts";
import { ensureIndex } from "../../src/search/index.ts";
import { Semaphore } from "../../src/search/semaphore.ts";
import { ownElasticsearch } from "../support/elasticsearch.ts";
import { bulk, META, NEVER, optionsFor, type Write } from "./setup.ts";

// A small limit for request bodies, and logins: who shows none may do all, who shows a wrong one is refused.
const server = await ownElasticsearch({
  settings: {
    "http.max_content_length": "1mb",
    "indexing_pressure.memory.limit": "1500kb",
    "xpack.security.enabled": "true",
    "xpack.security.autoconfiguration.enabled": "false",
    "xpack.security.authc.anonymous.username": "anyone",
    "xpack.security.authc.anonymous.roles": "superuser",
  },
});
const client = await connectSearch(optionsFor(server.url));
after(() => client.close());

const text = (kilobytes: number) => "x".repeat(kilobytes * 1024);

async function writerFor(through: SearchClient, alias: string, retries: string[] = []) {
  const { generation } = await ensureIndex(client, {
    alias,
    mapping: { dynamic: false },
    settings: null,
    meta: META,
  });
  return new BulkWriter({
    client: through,
    generation,
    semaphore: new Semaphore(8),
    onRetry: (error) => retries.push(error.message),
  });
}

test("a wrong password halts; it is not in the message", async () => {
  const login = { kind: "basic", user: "elastic", password: "wrong-secret" } as const;
  await assert.rejects(
    connectSearch(optionsFor(server.url, { login })),
    (error: Error & { code?: string }) => {
      assert.equal(error.code, "SEARCH_LOGIN");
      assert.doesNotMatch(error.message, /wrong-secret/);
      return true;
    },
  );
  for (const login of [{ kind: "api-key", key: "bm86bm8=" }, { kind: "bearer", token: "no" }] as const) {
    await assert.rejects(connectSearch(optionsFor(server.url, { login })), { code: "SEARCH_LOGIN" });
  }
});

test("a request that is too large is divided, and a document that is too large is refused alone", async () => {
  assert.equal(client.maxBodyBytes, 1024 * 1024);
  const writes = Array.from(
    { length: 10 },
    (_, n): Write => [String(n), 1n, { text: text(n === 7 ? 1100 : 300) }],
  );
  // Once with the limit known beforehand, and once by the engine's answer alone, as where the user may not ask for it.
  const unaware: SearchClient = {
    engine: client.engine,
    version: client.version,
    maxBodyBytes: null,
    describe: () => client.describe(),
    request: (request) => client.request(request),
    ping: (signal) => client.ping(signal),
    close: () => client.close(),
  };
  for (const [alias, through] of [["aware", client], ["unaware", unaware]] as const) {
    const outcome = await (await writerFor(through, alias)).send(bulk(...writes), NEVER);
    assert.ok(!outcome.stale);
    assert.equal(outcome.indexed, 9);
    assert.deepEqual(outcome.refused.map(({ id, status }) => [id, status]), [["7", 413]]);
  }
});

test("an overloaded engine (429) is asked again until it takes everything", async () => {
  const retries: string[] = [];
  const writer = await writerFor(client, "overload", retries);
  const requests = Array.from(
    { length: 12 },
    (_, request) =>
      bulk(...Array.from({ length: 9 }, (_, n): Write => [`${request}-${n}`, 1n, { text: text(90) }])),
  );
  const outcomes = await Promise.all(requests.map((request) => writer.send(request, NEVER)));
  assert.ok(
    outcomes.every((outcome) => !outcome.stale && outcome.indexed === 9 && outcome.refused.length === 0),
  );
  assert.ok(
    retries.some((message) => message.includes("es_rejected_execution_exception")),
    "it was overloaded",
  );
});

test("an engine that hangs is asked again once it goes on", async () => {
  const hasty = await connectSearch(optionsFor(server.url, { timeoutSeconds: 0.5 }));
  const retries: string[] = [];
  const writer = await writerFor(client, "hang");
  const impatient = new BulkWriter({
    client: hasty,
    generation:
      (await ensureIndex(client, { alias: "hang", mapping: {}, settings: null, meta: META })).generation,
    semaphore: new Semaphore(1),
    onRetry: (error) => {
      retries.push(error.code);
      process.kill(server.pid, "SIGCONT");
    },
  });
  try {
    await writer.send(bulk(["1", 1n, {}]), NEVER);
    process.kill(server.pid, "SIGSTOP");
    const outcome = await impatient.send(bulk(["1", 2n, { hung: true }]), NEVER);
    assert.ok(!outcome.stale && outcome.indexed === 1 && outcome.uncertain);
    assert.equal(retries[0], "SEARCH_UNREACHABLE");
  } finally {
    process.kill(server.pid, "SIGCONT");
    await hasty.close();
  }
});
