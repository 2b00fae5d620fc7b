import assert from "node:assert/strict";
import { after, test } from "node:test";
import { readCatalog } from "../../src/catalog/read.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { IndexWriter } from "../../src/documents/index_writer.ts";
import { mapDocument } from "../../src/mapping/tree.ts";
import { BulkWriter } from "../../src/search/bulk_writer.ts";
import { connectSearch } from "../../src/search/client.ts";
import { ensureIndex } from "../../src/search/index.ts";
import { Semaphore } from "../../src/search/semaphore.ts";
import { documentVersion } from "../../src/search/version.ts";
import { Bench } from "../integration/support.ts";
import { bulk, META, NEVER, optionsFor, type Write } from "../search/setup.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";

const server = await useElasticsearch();
const client = await connectSearch(optionsFor(server.url));
after(() => client.close());

const V = documentVersion({ timeline: 1, lsn: 0x16_B374D848n, fromStream: true });

test("an older build that arrives late does not take a newer one off the dead letters", async () => {
  await using bench = await Bench.open(17, "create table k (id int primary key, n int)", "\ntable: k");
  const [schema] = bench.schema.documents;
  assert.ok(schema !== undefined);
  const mapped = mapDocument(schema, await readCatalog(bench.sql, [schema.root]));
  const { generation } = await ensureIndex(client, {
    alias: schema.index,
    mapping: { dynamic: false, properties: { n: { type: "long" } } },
    settings: null,
    meta: META,
  });
  using checkpoint = Checkpoint.open(`${bench.options.checkpointFolder}/letters.checkpoint`);
  const writer = new IndexWriter({
    mapped,
    generation,
    client,
    bulk: new BulkWriter({ client, generation, semaphore: new Semaphore(2) }),
    checkpoint,
    newestVersion: () => Promise.resolve(V + 100n),
    observe: () => {},
  });
  const send = async (...writes: readonly Write[]) => {
    assert.ok(await writer.send(bulk(...writes), "stream", null, NEVER));
    return checkpoint.listDeadLetters(schema.index).map(({ id }) => id);
  };

  assert.deepEqual(await send(["1", V + 4n, { n: "many" }], ["2", V + 4n, { n: 2 }]), ["1"]);
  assert.deepEqual(await send(["1", V + 2n, { n: 1 }], ["3", V + 2n, { n: 3 }]), ["1"], "it was read before");
  assert.deepEqual((await server.get(schema.index, "1"))?._source, { n: 1 });
  assert.deepEqual([...writer.refusedIds()], [["1"]]);
  assert.deepEqual(await send(["1", V + 6n, { n: 5 }]), []);

  assert.deepEqual(await send(["1", V + 4n, { n: "late" }]), [], "the index holds a newer one");

  const fault = { sqlState: "22003", reason: "out of range" };
  writer.refuse([{ id: "2", fault }], V + 8n, "stream", null);
  assert.deepEqual(await send(["2", V + 6n, { n: 3 }]), ["2"], "it was read before");
  assert.deepEqual(await send(["2", V + 8n, null]), []);
});
