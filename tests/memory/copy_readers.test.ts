/** Who reads a COPY holds memory only for what has come, and gives it back however the COPY ends. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { readCatalog } from "../../src/catalog/read.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { IndexWriter } from "../../src/documents/index_writer.ts";
import { KeyedWriter } from "../../src/documents/keyed_writer.ts";
import { ServerClock } from "../../src/documents/server_clock.ts";
import { NOTHING_TO_SEE } from "../../src/documents/source_clock.ts";
import { SourceSession } from "../../src/documents/source_session.ts";
import { loadChunks } from "../../src/load/initial_load.ts";
import { wholeChunks } from "../../src/load/load_chunks.ts";
import type { PgsyncError } from "../../src/errors/error.ts";
import { mapDocument } from "../../src/mapping/tree.ts";
import { cutConnections } from "../../src/postgres/connect.ts";
import { BulkWriter, type BulkWriterOptions } from "../../src/search/bulk_writer.ts";
import { connectSearch } from "../../src/search/client.ts";
import { ensureIndex } from "../../src/search/index.ts";
import { Semaphore } from "../../src/search/semaphore.ts";
import { RunMemory } from "../../src/sync/run_memory.ts";
import { compareChunk } from "../../src/verify/chunk_comparison.ts";
import { Comparison } from "../../src/verify/comparison.ts";
import { Bench } from "../integration/support.ts";
import { META, NEVER, optionsFor } from "../search/setup.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";

const server = await useElasticsearch();
const client = await connectSearch(optionsFor(server.url));
after(() => client.close());

/** More than the sockets' buffers hold. */
const TABLE = `
  create table k (id int primary key, n text);
  insert into k select n, repeat('x', 200000) from generate_series(1, 100) n`;

/** An index of `k`, what loads it, and what compares it, in memory of their own. */
async function opened(bench: Bench, delivery: Pick<BulkWriterOptions, "semaphore" | "now">) {
  const [schema] = bench.schema.documents;
  assert.ok(schema !== undefined);
  const mapped = mapDocument(schema, await readCatalog(bench.sql, [schema.root]));
  const { generation } = await ensureIndex(client, {
    alias: schema.index,
    mapping: { dynamic: false },
    settings: null,
    meta: META,
  });
  const { options: { postgres: options }, database: { name } } = bench;
  const session = new SourceSession(options, name, { lookups: 1, builders: 2, loaders: 2 });
  const checkpoint = Checkpoint.open(`${bench.options.checkpointFolder}/readers.checkpoint`);
  const { work: memory } = new RunMemory(bench.options, 1, 1);
  const clock = new ServerClock(session);
  const bulk = new BulkWriter({ ...delivery, client, generation });
  const index = new IndexWriter({
    mapped,
    generation,
    client,
    bulk,
    checkpoint,
    newestVersion: () => clock.newestVersion(),
    observe: () => {},
  });
  const faults: string[] = [];
  const onFault = ({ code }: PgsyncError) => void faults.push(code);
  const freshMoment = () => clock.afterVisible(NOTHING_TO_SEE, NEVER);
  const keyed = new KeyedWriter(index, session, memory, 1, freshMoment, onFault);
  const load = async () => {
    checkpoint.planLoad(schema.index, generation, wholeChunks(mapped.root.relation));
    await loadChunks(checkpoint.load(schema.index)?.chunks ?? [], {
      ...{ keyed, session, clock, checkpoint, memory, workers: 1, onFault },
      mayGoOn: () => Promise.resolve(),
      onDocuments: () => {},
      onChunk: () => {},
    }, NEVER);
  };
  const common = { mapped, generation, session, search: client, memory, contents: true, places: 0, onFault };
  const compare = async () => {
    const comparison = new Comparison(common);
    return await compareChunk({ kind: "whole" }, { ...common, comparison, onDocuments: () => {} }, NEVER);
  };
  return {
    ...{ session, memory, faults, bulk, load, compare },
    cut: () => cutConnections(options, name),
    [Symbol.asyncDispose]: async () => {
      await session[Symbol.asyncDispose]();
      checkpoint.close();
    },
  };
}

for (const reader of ["load", "compare"] as const) {
  test(`${reader}: nothing is held while PostgreSQL keeps a COPY waiting, and all is given back when its connection dies while it waits for memory`, async () => {
    await using bench = await Bench.open(17, TABLE, "\ntable: k");
    await using open = await opened(bench, { semaphore: new Semaphore(2) });
    const { session, memory: { documents } } = open;
    await open.load();
    const { promise: unlocked, resolve: unlock } = Promise.withResolvers<void>();
    const { promise: locked, resolve: isLocked } = Promise.withResolvers<void>();
    const locking = bench.sql.begin(async (transaction) => {
      await transaction`lock table k`;
      isLocked();
      await unlocked;
    });
    await locked;
    const reading = open[reader]();
    await eventually(async () => {
      const waiting = await bench.sql`
        select 1 from pg_locks where not granted and relation = 'k'::regclass and database = (
          select oid from pg_database where datname = current_database()
        )`;
      assert.equal(waiting.length, 1);
    }, { what: "the COPY to wait for the lock" });
    assert.equal(documents.held, 0, "while it waits for the lock");

    const others = await documents.acquire(documents.limit);
    unlock();
    await locking;
    await eventually(() => assert.equal(documents.waiting, 1), { what: "a row to wait for memory" });
    open.cut();
    // By then whoever read has heard of it.
    await session.loaders`select 1`;
    others.release();
    await reading;
    assert.deepEqual([documents.held, documents.waiting], [0, 0]);
    assert.deepEqual(open.faults, ["POSTGRES_UNREACHABLE"], "the COPY was begun anew");
  });
}
