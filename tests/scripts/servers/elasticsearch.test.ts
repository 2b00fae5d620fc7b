import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { client, ownElasticsearch, useElasticsearch } from "../../support/elasticsearch.ts";

test("the shared server stores documents, and says them back to the byte", async () => {
  const search = await useElasticsearch();
  const index = search.indexName("books");
  const source = '{"price":12.340000000000000000001,"pages":10}';
  const created = await search.request("POST", `/${index}/_bulk`, `{"index":{"_id":"a/b"}}\n${source}\n`);
  assert.equal(created.status, 200);
  assert.equal((await search.get(index, "a/b"))?._source["pages"], 10);
  assert.equal(await search.sourceText(index, "a/b"), source);
  assert.equal(await search.get(index, "missing"), null);
  assert.equal(await search.count(index), 1);
  assert.deepEqual([...(await search.all(index)).keys()], ["a/b"]);
});

test("a server of one's own can be killed, started again on its port, and paused", async () => {
  const server = await ownElasticsearch({ heapMb: 256 });
  const search = client(server.url);
  await search.request("PUT", "/kept/_doc/1?refresh=true", { a: 1 });
  await server.kill();
  await assert.rejects(search.get("kept", "1"), TypeError);
  await server.start();
  assert.deepEqual((await search.get("kept", "1"))?._source, { a: 1 });
  process.kill(server.pid, "SIGSTOP");
  await assert.rejects(fetch(server.url, { signal: AbortSignal.timeout(300) }), { name: "TimeoutError" });
  await server.stop();
});
