import assert from "node:assert/strict";
import { after, test } from "node:test";
import { readCatalog } from "../../src/catalog/read.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { IndexWriter } from "../../src/documents/index_writer.ts";
import { KeyedWriter } from "../../src/documents/keyed_writer.ts";
import { ServerClock } from "../../src/documents/server_clock.ts";
import { NOTHING_TO_SEE } from "../../src/documents/source_clock.ts";
import { SourceSession } from "../../src/documents/source_session.ts";
import { mapDocument } from "../../src/mapping/tree.ts";
import { BulkWriter } from "../../src/search/bulk_writer.ts";
import { connectSearch } from "../../src/search/client.ts";
import { ensureIndex } from "../../src/search/index.ts";
import { Semaphore } from "../../src/search/semaphore.ts";
import { RunMemory } from "../../src/sync/run_memory.ts";
import { documentVersion } from "../../src/search/version.ts";
import { Bench } from "../integration/support.ts";
import { bulk, META, NEVER, optionsFor, type Write } from "../search/setup.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { startSearchProxy } from "../support/search_proxy.ts";

const server = await useElasticsearch();
const direct = await connectSearch(optionsFor(server.url));
after(() => direct.close());

const V = documentVersion({ timeline: 1, lsn: 0x16_B374D848n, fromStream: true });

/** A writer of one index whose field `n` is a number; the column is not. */
async function opened(bench: Bench, client = direct) {
  const [schema] = bench.schema.documents;
  assert.ok(schema !== undefined);
  const mapped = mapDocument(schema, await readCatalog(bench.sql, [schema.root]));
  const { generation } = await ensureIndex(client, {
    alias: schema.index,
    mapping: { dynamic: false, properties: { n: { type: "long" } } },
    settings: null,
    meta: META,
  });
  const checkpoint = Checkpoint.open(`${bench.options.checkpointFolder}/letters.checkpoint`);
  const bulk = new BulkWriter({ client, generation, semaphore: new Semaphore(2) });
  const writer = new IndexWriter({
    mapped,
    generation,
    client,
    bulk,
    checkpoint,
    newestVersion: () => Promise.resolve(V + 100n),
    observe: () => {},
  });
  const letters = () => checkpoint.listDeadLetters(schema.index);
  return {
    schema,
    checkpoint,
    writer,
    bulk,
    letters,
    ids: () => letters().map(({ id }) => id),
    [Symbol.dispose]: () => checkpoint.close(),
  };
}

test("an older build that arrives late does not take a newer one off the dead letters", async () => {
  await using bench = await Bench.open(17, "create table k (id int primary key, n int)", "\ntable: k");
  using open = await opened(bench);
  const { schema, writer } = open;
  const send = async (...writes: readonly Write[]) => {
    assert.ok((await writer.send(bulk(...writes), "stream", null, NEVER)).done);
    return open.ids();
  };

  assert.deepEqual(await send(["1", V + 4n, { n: "many" }], ["2", V + 4n, { n: 2 }]), ["1"]);
  assert.deepEqual(await send(["1", V + 2n, { n: 1 }], ["3", V + 2n, { n: 3 }]), ["1"], "it was read before");
  assert.deepEqual((await server.get(schema.index, "1"))?._source, { n: 1 });
  assert.deepEqual([...writer.refusedIds()], [["1"]]);
  assert.deepEqual(await send(["1", V + 6n, { n: 5 }]), []);

  assert.deepEqual(await send(["1", V + 4n, { n: "late" }]), [], "the index holds a newer one");

  const fault = { sqlState: "22003", reason: "out of range" };
  assert.deepEqual(await writer.refuse([{ id: "2", fault }], V + 8n, "stream", null, NEVER), []);
  assert.deepEqual(await send(["2", V + 6n, { n: 3 }]), ["2"], "it was read before");
  assert.deepEqual(await send(["2", V + 8n, null]), []);

  const others = [{ id: "3", fault }, { id: "4", fault }];
  assert.deepEqual(
    await writer.refuse(others, V, "stream", null, NEVER),
    ["4"],
    "the index does not hold it",
  );
  assert.deepEqual(open.ids(), ["4"], "the index holds a newer one of the other");
});

test("a refusal is kept before a newer build of the document is sent: its success takes the letter off the list", async () => {
  const proxy = await startSearchProxy(server.url);
  const slow = await connectSearch(optionsFor(proxy.url));
  try {
    await using bench = await Bench.open(17, "create table k (id int primary key, n int)", "\ntable: k");
    using open = await opened(bench, slow);
    const { writer } = open;
    // The refusal is judged by what the index holds, and the answer to that is late.
    proxy.fail({ kind: "late-answer" }, /_mget/);
    const refused = writer.send(bulk(["1", V, { n: "many" }]), "stream", null, NEVER);
    await eventually(() => proxy.carriedOut === 1, { what: "the versions to be read" });
    assert.equal(open.bulk.documentsInFlight, 1, "nobody else may send the document yet");
    const taken = writer.send(bulk(["1", V + 2n, { n: 1 }]), "stream", null, NEVER);
    proxy.mend();
    assert.ok((await refused).done && (await taken).done);
    assert.deepEqual(open.ids(), []);
  } finally {
    await slow.close();
    await proxy.stop();
  }
});

test("a document that was read before its row was deleted, and refused after the deletion, is no dead letter", async () => {
  await using bench = await Bench.open(
    17,
    "create table k (id text primary key, n text); insert into k values ('here', 'many')",
    "\ntable: k",
  );
  using open = await opened(bench);
  const { writer } = open;
  const { options, database } = bench;
  await using session = new SourceSession(options.postgres, database.name, {
    lookups: 1,
    builders: 1,
    loaders: 1,
  });
  const clock = new ServerClock(session);
  const keyed = new KeyedWriter(
    writer,
    session,
    new RunMemory(options, 1, 1).work,
    1,
    () => clock.afterVisible(NOTHING_TO_SEE, NEVER),
    (fault) => assert.fail(fault),
  );
  const old = documentVersion({ timeline: 1, lsn: 8n, fromStream: false });
  // The stream's deletion is answered first.
  await writer.send(bulk(["gone", old + 100n, null]), "stream", null, NEVER);
  const write = { source: "load", position: null } as const;
  const read = bulk(["gone", old, { n: "many" }], ["here", old, { n: "many" }], ["fine", old, { n: 1 }]);
  const { done, absent } = await writer.send(read, "load", null, NEVER);
  assert.ok(done);
  await keyed.removeGone(absent, write, NEVER);
  assert.deepEqual(open.letters().map(({ id, tries }) => [id, tries]), [["here", 1]]);
  assert.deepEqual((await server.get(open.schema.index, "fine"))?._source, { n: 1 }, "it was not refused");
});

test("a reason is kept in part: an engine may quote the whole value", async () => {
  await using bench = await Bench.open(17, "create table k (id int primary key, n text)", "\ntable: k");
  using open = await opened(bench);
  const fault = { sqlState: "22003", reason: `${"x".repeat(100_000)}` };
  await open.writer.refuse([{ id: "1", fault }], V, "stream", null, NEVER);
  assert.equal(open.letters()[0]?.reason, `${"x".repeat(2_000)}…`);
});
