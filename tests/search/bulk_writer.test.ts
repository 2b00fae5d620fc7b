import assert from "node:assert/strict";
import { after, test } from "node:test";
import { z } from "zod";
import type { PgsyncError } from "../../src/errors/error.ts";
import { MemoryShare } from "../../src/memory/share.ts";
import { BulkWriter, type BulkWriterOptions, isStale } from "../../src/search/bulk_writer.ts";
import type { WrittenOutcome } from "../../src/search/bulk_delivery.ts";
import { connectSearch, type SearchClient } from "../../src/search/client.ts";
import { SearchHealth } from "../../src/search/health.ts";
import { ensureIndex } from "../../src/search/index.ts";
import { Semaphore } from "../../src/search/semaphore.ts";
import { readVersions } from "../../src/search/stored_versions.ts";
import { documentVersion } from "../../src/search/version.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";
import { bulk, META, NEVER, optionsFor, type Write } from "./setup.ts";

const server = await useElasticsearch();
const client = await connectSearch(optionsFor(server.url));
after(() => client.close());

const MAPPING = { dynamic: false, properties: { n: { type: "long" } } };
const V = documentVersion({ timeline: 4000, lsn: 0x16_B374D848n, fromStream: true });

async function setUp(changes: Partial<BulkWriterOptions> = {}) {
  const alias = server.indexName("bulk");
  const { generation } = await ensureIndex(client, { alias, mapping: MAPPING, settings: null, meta: META });
  const writer = new BulkWriter({ client, generation, semaphore: new Semaphore(2), ...changes });
  return { alias, generation, writer };
}

/** The part of an outcome that does not depend on the machine. */
function counts(outcome: Awaited<ReturnType<BulkWriter["send"]>>): Partial<WrittenOutcome> {
  assert.ok(!outcome.stale);
  const { indexed, deleted, conflicts, refused } = outcome;
  return { indexed, deleted, conflicts, refused };
}

test("documents are written, replaced and deleted; their bytes arrive as they were", async () => {
  const { alias, writer } = await setUp();
  let released = 0;
  const request = bulk(["1", V, '{"n" : 1, "d" : 1.10}'], ["2|b", V, { n: 2 }]);
  const outcome = await writer.send({ ...request, release: () => void released++ }, NEVER);
  assert.equal(released, 1);
  assert.deepEqual(counts(outcome), { indexed: 2, deleted: 0, conflicts: [], refused: [] });
  assert.ok(!outcome.stale && outcome.bytes > 0 && outcome.attempts === 1 && !outcome.uncertain);
  assert.equal(await server.sourceText(alias, "1"), '{"n" : 1, "d" : 1.10}');

  const second = await writer.send(
    bulk(["1", V + 2n, { n: 3 }], ["2|b", V + 2n, null], ["none", V, null]),
    NEVER,
  );
  assert.deepEqual(counts(second), { indexed: 1, deleted: 2, conflicts: [], refused: [] });
  assert.deepEqual((await server.get(alias, "1"))?._source, { n: 3 });
  assert.equal(await server.get(alias, "2|b"), null);
  assert.deepEqual(counts(await writer.send(bulk(), NEVER)), {
    indexed: 0,
    deleted: 0,
    conflicts: [],
    refused: [],
  });
});

test("a tie of versions is written again, an older build is not", async () => {
  const { alias, generation, writer } = await setUp();
  await writer.send(bulk(["1", V, { n: 1 }], ["gone", V, null]), NEVER);
  await writer.send(bulk(["1", V, { n: 2 }]), NEVER);
  assert.deepEqual((await server.get(alias, "1"))?._source, { n: 2 });
  const late = await writer.send(
    bulk(["1", V - 1n, { n: 0 }], ["gone", V - 1n, { n: 0 }], ["1", V - 2n, null]),
    NEVER,
  );
  assert.deepEqual(counts(late), { indexed: 0, deleted: 0, conflicts: ["1", "gone", "1"], refused: [] });
  assert.equal(await server.get(alias, "gone"), null);
  assert.deepEqual(await readVersions(client, generation, ["1", "gone", "none"]), new Map([["1", V]]));
});

test("ids of any content come back as they were", async () => {
  const { generation, writer } = await setUp();
  const ids = ['"quoted"', "line\nbreak", "\\", "\u0001", "日本語|😀", "_version", '"_version":1', " "];
  await writer.send(bulk(...ids.map((id): Write => [id, V, {}])), NEVER);
  assert.deepEqual([...(await readVersions(client, generation, ids)).keys()], ids);
});

test("a document that the mapping refuses is named, and the rest is written", async () => {
  const { alias, writer } = await setUp();
  const outcome = await writer.send(
    bulk(["1", V, { n: 1 }], ["2", V, { n: "abc" }], ["3", V, "{broken"], ["4", V, {}]),
    NEVER,
  );
  const { indexed, refused = [] } = counts(outcome);
  assert.equal(indexed, 2);
  assert.deepEqual(refused.map(({ id, operation, status }) => ({ id, operation, status })), [
    { id: "2", operation: "index", status: 400 },
    { id: "3", operation: "index", status: 400 },
  ]);
  assert.match(refused[0]?.reason ?? "", /failed to parse field \[n\].*For input string: "abc"/);
  assert.equal(await server.count(alias), 2);
});

test("an id for which the engine refuses the whole request is singled out", async () => {
  const { alias, writer } = await setUp();
  const long = "x".repeat(600);
  const writes = Array.from({ length: 9 }, (_, n): Write => [n === 6 ? long : String(n), V, { n }]);
  const { indexed, refused = [] } = counts(await writer.send(bulk(...writes), NEVER));
  assert.equal(indexed, 8);
  assert.deepEqual(refused.map(({ id, status }) => [id, status]), [[long, 400]]);
  assert.equal(await server.count(alias), 8);
});

test("an index that was deleted under our feet is missing, and no request makes it anew", async () => {
  for (const write of [["1", V, {}] as const, ["1", V, null] as const]) {
    const { alias, generation, writer } = await setUp();
    await server.request("DELETE", `/${generation}`);
    await assert.rejects(writer.send(bulk(write), NEVER), { code: "INDEX_MISSING" });
    const { body } = await server.request("GET", `/${alias}*?expand_wildcards=all`);
    assert.deepEqual(body, {});
    assert.equal(writer.documentsInFlight, 0);
  }
});

test("a blocked index is an outage: the documents wait until it is free again", async () => {
  const errors: PgsyncError[] = [];
  const health = new SearchHealth();
  let unblock: Promise<unknown> | null = null;
  const { alias, generation, writer } = await setUp({
    health,
    onRetry: (error) => {
      errors.push(error);
      assert.equal(health.state.healthy, false);
      unblock ??= server.request("PUT", `/${generation}/_settings`, { "index.blocks.write": null });
    },
  });
  await server.request("PUT", `/${generation}/_settings`, { "index.blocks.write": true });
  const outcome = await writer.send(bulk(["1", V, { n: 1 }], ["2", V, null]), NEVER);
  assert.deepEqual(counts(outcome), { indexed: 1, deleted: 1, conflicts: [], refused: [] });
  assert.equal(errors[0]?.code, "SEARCH_UNAVAILABLE");
  assert.match(errors[0].message, /cluster_block_exception/);
  assert.deepEqual(health.state, { healthy: true });
  assert.ok(await server.get(alias, "1"));
  await unblock;
});

/** A client whose bulk answers say 500 of some documents, as a shard in trouble does. */
function troubled(ids: readonly string[], isOver: () => boolean): SearchClient {
  const answers = z.object({ errors: z.boolean(), items: z.array(z.unknown()) });
  return {
    engine: client.engine,
    version: client.version,
    maxBodyBytes: client.maxBodyBytes,
    describe: () => client.describe(),
    ping: (signal) => client.ping(signal),
    close: () => client.close(),
    request: async (request) => {
      const response = await client.request(request);
      if (isOver() || !request.path.endsWith("/_bulk")) return response;
      const sent = String(request.body).matchAll(/^\{"index":\{"_id":"([^"]*)"/gm).map(([, id = ""]) => id)
        .toArray();
      const { items } = response.read(answers);
      const failure = { index: { status: 500, error: { type: "translog_exception", reason: "disk" } } };
      const told = sent.map((id, place) => ids.includes(id) ? failure : items[place]);
      return response.withText(JSON.stringify({ errors: true, items: told }));
    },
  };
}

test("a document that answers 500 while others are taken is refused, but not before a minute has passed", async () => {
  let now = 1_000_000;
  const retried: number[] = [];
  const { writer } = await setUp({
    client: troubled(["2"], () => false),
    now: () => now,
    random: () => 0,
    onRetry: () => {
      retried.push(now);
      now += 5_000;
    },
  });
  const build = () => ({ ...bulk(["1", V, { n: 1 }], ["2", V, { n: 2 }]), builtAt: now });
  for (const _ of [1, 2]) assert.ok((await writer.send(build(), NEVER)).stale);
  const { indexed, refused = [] } = counts(await writer.send(build(), NEVER));
  assert.equal(indexed, 1);
  assert.deepEqual(refused.map(({ id, status, type }) => [id, status, type]), [[
    "2",
    500,
    "translog_exception",
  ]]);
  assert.ok(now - 1_000_000 >= 60_000);
  assert.ok((await writer.send(build(), NEVER)).stale, "and its next build has as many attempts");
});

test("where everything answers 500, or one document that stands alone, it is an outage", async () => {
  for (const ids of [["1", "2"], ["1"]]) {
    let now = 1_000_000;
    let retries = 0;
    const { alias, writer } = await setUp({
      client: troubled(ids, () => retries > 40),
      now: () => now,
      random: () => 0,
      onRetry: () => {
        retries++;
        now += 5_000;
      },
    });
    let outcome;
    do {
      outcome = await writer.send({ ...bulk(...ids.map((id): Write => [id, V, {}])), builtAt: now }, NEVER);
    } while (outcome.stale);
    assert.deepEqual(counts(outcome), { indexed: ids.length, deleted: 0, conflicts: [], refused: [] });
    assert.ok(retries > 40);
    assert.equal(await server.count(alias), ids.length);
  }
});

/** A writer whose way to the server leads through a proxy. */
async function throughProxy(changes: Partial<BulkWriterOptions> = {}, timeoutSeconds = 10) {
  const proxy = await startTcpProxy(server.url);
  const through: SearchClient = await connectSearch(optionsFor(proxy.url, { timeoutSeconds }));
  const made = await setUp({ client: through, ...changes });
  const close = async () => {
    await through.close();
    await proxy.stop();
  };
  return { ...made, proxy, close };
}

test("a server that is away is tried again until it is back", async () => {
  const waits: number[] = [];
  let errors = 0;
  const { writer, alias, proxy, close } = await throughProxy({
    random: () => 0.5,
    onRetry: (error, wait) => {
      assert.equal(error.code, "SEARCH_UNREACHABLE");
      waits.push(wait);
      if (++errors === 3) void proxy.open();
    },
  });
  try {
    await proxy.shut();
    let released = false;
    const request = { ...bulk(["1", V, { n: 1 }]), release: () => void (released = true) };
    const outcome = await writer.send(request, NEVER);
    assert.ok(!outcome.stale && outcome.uncertain);
    assert.ok(!released, "the body of the attempt that was cut off may still be on its way");
    assert.equal(outcome.indexed, 1);
    assert.deepEqual(waits.slice(0, 3), [50, 100, 200], "full jitter, doubling from 0.1 s");
    assert.ok(await server.get(alias, "1"));
  } finally {
    await close();
  }
});

test("connections cut in the middle of a request lose nothing", async () => {
  const { writer, alias, proxy, close } = await throughProxy();
  try {
    let cuts = 0;
    const cutter = setInterval(() => {
      if (proxy.connections > 0 && ++cuts < 4) proxy.cut();
    }, 5);
    const writes = Array.from(
      { length: 4_000 },
      (_, n): Write => [String(n), V, { n, text: "x".repeat(500) }],
    );
    const outcome = await writer.send(bulk(...writes), NEVER);
    clearInterval(cutter);
    assert.ok(!outcome.stale);
    assert.equal(outcome.indexed, 4_000);
    assert.equal(await server.count(alias), 4_000);
  } finally {
    await close();
  }
});

test("documents that have become too old are given back, not sent", async () => {
  let now = 1_000_000;
  const { writer, alias, proxy, close } = await throughProxy({
    now: () => now,
    random: () => 0,
    onRetry: () => {
      now += 20_000;
    },
  });
  try {
    await proxy.shut();
    const built = { ...bulk(["1", V, { n: 1 }]), builtAt: now };
    assert.deepEqual(await writer.send(built, NEVER), { stale: true, uncertain: true });
    await proxy.open();
    // Too old from the outset: nothing is sent, though the server is there.
    assert.deepEqual(await writer.send(built, NEVER), { stale: true, uncertain: false });
    assert.equal(await server.get(alias, "1"), null);
    assert.equal(writer.documentsInFlight, 0);
  } finally {
    await close();
  }
  assert.equal(isStale(0, 30_000), false);
  assert.equal(isStale(0, 30_001), true);
  assert.equal(isStale(10, 0), true, "a clock that was set back");
});

test("documents that became too old while they waited for memory to be copied are given back, not sent", async () => {
  let now = 1_000_000;
  let requests = 0;
  const copies = new MemoryShare(1_000);
  const others = await copies.acquire(1_000);
  const inTrouble = troubled(["1", "3"], () => false);
  const { writer } = await setUp({
    client: { ...inTrouble, request: (request) => (requests++, inTrouble.request(request)) },
    copies,
    now: () => now,
    random: () => 0,
  });
  let released = 0;
  const build = () => ({
    ...bulk(["1", V, { n: 1 }], ["2", V, { n: 2 }], ["3", V, { n: 3 }]),
    builtAt: now,
    release: () => void released++,
  });
  const sent = writer.send(build(), NEVER);
  await eventually(() => assert.equal(copies.waiting, 1));
  now += 30_001;
  others.release();
  assert.deepEqual(await sent, { stale: true, uncertain: false });
  assert.deepEqual([requests, copies.held], [1, 0]);
  assert.equal(released, 1, "every attempt was answered, so nothing reads the body any more");
});

test("documents that a frozen process made after their deletion was forgotten are given back", async () => {
  let now = 1_000_000;
  const { writer, alias, generation, proxy, close } = await throughProxy({ now: () => now });
  try {
    await server.request("PUT", `/${generation}/_settings`, { "index.gc_deletes": "0s" });
    const other = new BulkWriter({ client, generation, semaphore: new Semaphore(1) });
    const held = proxy.holdBack(/_bulk/);
    const built = { ...bulk(["1", V, { n: 1 }]), builtAt: now };
    const frozen = writer.send(built, NEVER);
    await held.caught;
    now += 60_001;
    await other.send(bulk(["1", V + 2n, { n: 2 }]), NEVER);
    await other.send(bulk(["1", V + 4n, null]), NEVER);
    // What the engine forgets, it forgets at a refresh, by a clock of coarse steps; in the order of the deletions.
    await other.send(bulk(["2", V + 4n, null]), NEVER);
    await eventually(async () => {
      await server.request("POST", `/${generation}/_refresh`);
      assert.equal(counts(await other.send(bulk(["2", V, {}]), NEVER)).indexed, 1);
    }, { what: "the engine to forget" });
    await held.release();
    assert.deepEqual(await frozen, { stale: true, uncertain: false });
    assert.deepEqual((await server.get(alias, "1"))?._source, { n: 1 }, "the engine had forgotten");
    assert.deepEqual([writer.revivals.made, writer.revivals.possible], [1, 1]);
    let none = false;
    const waited = writer.revivals.none(NEVER).then(() => none = true);
    assert.equal(none, false);
    await writer.send({ ...bulk(["1", V + 5n, { n: 4 }]), builtAt: now }, NEVER);
    await waited;
    assert.equal(writer.revivals.possible, 0);

    // What it knew is written over or not by its version, however late.
    proxy.cut();
    const late = proxy.holdBack(/_bulk/);
    const again = writer.send({ ...bulk(["1", V + 6n, { n: 3 }]), builtAt: now }, NEVER);
    await late.caught;
    now += 60_001;
    await late.release();
    assert.equal(counts(await again).indexed, 1);
  } finally {
    await close();
  }
});

test("a document waits while it is in another request", async () => {
  const { writer, alias, proxy, close } = await throughProxy({}, 0.5);
  try {
    proxy.swallowAnswers(true);
    const order: string[] = [];
    const first = writer.send(bulk(["1", V, { n: 1 }], ["2", V, { n: 1 }]), NEVER).then(() =>
      order.push("first")
    );
    const second = writer.send(bulk(["2", V + 2n, { n: 2 }]), NEVER).then(() => order.push("second"));
    // The first request arrives, though its answer does not; the second must not have been sent.
    while (await server.get(alias, "2") === null) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual((await server.get(alias, "2"))?._source, { n: 1 });
    proxy.swallowAnswers(false);
    await Promise.all([first, second]);
    assert.deepEqual(order, ["first", "second"]);
    assert.deepEqual((await server.get(alias, "2"))?._source, { n: 2 });
  } finally {
    await close();
  }
});

test("an abort ends a send wherever it waits, and nothing stays taken", async () => {
  const semaphore = new Semaphore(1);
  const retried = Promise.withResolvers<void>();
  const { writer, proxy, close } = await throughProxy({
    semaphore,
    random: () => 1,
    onRetry: () => retried.resolve(),
  });
  try {
    const control = new AbortController();
    proxy.swallowAnswers(true);
    const sends = [
      writer.send(bulk(["1", V, {}]), control.signal), // waits for the answer
      writer.send(bulk(["1", V, {}]), control.signal), // waits for the document
      writer.send(bulk(["2", V, {}]), control.signal), // waits for its turn
    ];
    control.abort(new Error("stopping"));
    for (const send of sends) await assert.rejects(send, /stopping/);
    assert.deepEqual([writer.documentsInFlight, semaphore.running], [0, 0]);

    await proxy.shut();
    const later = new AbortController();
    const backingOff = writer.send(bulk(["1", V, {}]), later.signal);
    await retried.promise;
    later.abort(new Error("stopping"));
    await assert.rejects(backingOff, /stopping/);
    assert.deepEqual([writer.documentsInFlight, semaphore.running], [0, 0]);
  } finally {
    await close();
  }
});
