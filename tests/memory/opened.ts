/** What writes, loads and compares the documents of one index, in memory that a test has in its hand. */
import assert from "node:assert/strict";
import { after } from "node:test";
import { readCatalog } from "../../src/catalog/read.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { IndexWriter } from "../../src/documents/index_writer.ts";
import { KeyedWriter } from "../../src/documents/keyed_writer.ts";
import { ServerClock } from "../../src/documents/server_clock.ts";
import { NOTHING_TO_SEE } from "../../src/documents/source_clock.ts";
import { SourceSession } from "../../src/documents/source_session.ts";
import type { WorkMemory } from "../../src/documents/work_memory.ts";
import type { PgsyncError } from "../../src/errors/error.ts";
import { loadChunks } from "../../src/load/initial_load.ts";
import { wholeChunks } from "../../src/load/load_chunks.ts";
import { mapDocument } from "../../src/mapping/tree.ts";
import { cutConnections } from "../../src/postgres/connect.ts";
import { BulkWriter, type BulkWriterOptions } from "../../src/search/bulk_writer.ts";
import { connectSearch } from "../../src/search/client.ts";
import { ensureIndex } from "../../src/search/index.ts";
import { Semaphore } from "../../src/search/semaphore.ts";
import { compareChunk } from "../../src/verify/chunk_comparison.ts";
import { Comparison } from "../../src/verify/comparison.ts";
import type { Bench } from "../integration/support.ts";
import { META, NEVER, optionsFor } from "../search/setup.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";

const server = await useElasticsearch();
const client = await connectSearch(optionsFor(server.url));
after(() => client.close());

/** Slices of one index that are built at once. */
const CONCURRENCY = 8;

/** Opens the index of the bench's document. To be disposed of before the bench. */
export async function opened(
  bench: Bench,
  memory: WorkMemory,
  delivery: Pick<BulkWriterOptions, "semaphore" | "now"> = { semaphore: new Semaphore(2) },
) {
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
  const session = new SourceSession(options, name, { lookups: 1, builders: CONCURRENCY, loaders: 2 });
  const checkpoint = Checkpoint.open(`${bench.options.checkpointFolder}/readers.checkpoint`);
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
  const keyed = new KeyedWriter(index, session, memory, CONCURRENCY, freshMoment, onFault);
  const write = async (keys: readonly string[]) => {
    const moment = await freshMoment();
    await keyed.write([keys], { moment, source: "stream", position: null }, NEVER);
  };
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
    ...{ session, faults, bulk, write, load, compare },
    indexed: () => index.indexed,
    cut: () => cutConnections(options, name),
    [Symbol.asyncDispose]: async () => {
      await session[Symbol.asyncDispose]();
      checkpoint.close();
    },
  };
}
