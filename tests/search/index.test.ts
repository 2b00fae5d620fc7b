import assert from "node:assert/strict";
import { after, test } from "node:test";
import { BulkWriter } from "../../src/search/bulk_writer.ts";
import { connectSearch } from "../../src/search/client.ts";
import { generationName, isGenerationOf } from "../../src/search/generation.ts";
import {
  countDocuments,
  describeIndex,
  dropIndex,
  ensureIndex,
  pipelineExists,
  updateMeta,
} from "../../src/search/index.ts";
import { pauseRefresh, refresh, restoreRefresh } from "../../src/search/refresh.ts";
import { listIds } from "../../src/search/listing.ts";
import { Semaphore } from "../../src/search/semaphore.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { bulk, META, NEVER, optionsFor, type Write } from "./setup.ts";

const server = await useElasticsearch();
const client = await connectSearch(optionsFor(server.url));
after(() => client.close());

const MAPPING = { dynamic: false, properties: { title: { type: "text" } }, _meta: { owner: "shop" } };
const definition = (alias: string) => ({
  alias,
  mapping: MAPPING,
  settings: { refresh_interval: "7s" },
  meta: META,
});

async function refreshInterval(index: string): Promise<unknown> {
  const { body } = await server.request(
    "GET",
    `/${index}/_settings?flat_settings=true&filter_path=*.settings`,
  );
  return Object.values(body as Record<string, { settings: Record<string, unknown> }>)[0]
    ?.settings["index.refresh_interval"];
}

test("an index is made with its alias, settings, mapping and what it says of itself", async () => {
  const alias = server.indexName("books");
  assert.equal(await describeIndex(client, alias), null);
  const made = await ensureIndex(client, definition(alias));
  assert.ok(made.created && isGenerationOf(alias, made.generation));
  assert.deepEqual(await describeIndex(client, alias), {
    generation: made.generation,
    meta: META,
    isAlias: true,
  });
  assert.equal(await refreshInterval(made.generation), "7s");
  // The alias takes writes of others, too.
  assert.equal((await server.request("PUT", `/${alias}/_doc/1`, { title: "x" })).status, 201);

  const again = await ensureIndex(client, { ...definition(alias), meta: { ...META, schemaHash: "other" } });
  assert.deepEqual(again, { generation: made.generation, meta: META, created: false });
});

test("an index that another request makes at the same time is taken as it is", async () => {
  const alias = server.indexName("books");
  const times = [1, 2, 3, 4].map((second) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)));
  const made = await Promise.all(
    times.map((time) => ensureIndex(client, definition(alias), undefined, () => time)),
  );
  assert.equal(new Set(made.map(({ generation }) => generation)).size, 1);
  assert.equal(made.filter(({ created }) => created).length, 1);
});

test("what the index says of itself can be changed; the user's _meta stays", async () => {
  const alias = server.indexName("books");
  const { generation } = await ensureIndex(client, definition(alias));
  await updateMeta(client, generation, { ...META, loaded: true });
  assert.equal((await describeIndex(client, alias))?.meta?.loaded, true);
  const { body } = await server.request("GET", `/${generation}/_mapping?filter_path=*.mappings._meta.owner`);
  assert.deepEqual(body, { [generation]: { mappings: { _meta: { owner: "shop" } } } });
  await assert.rejects(updateMeta(client, generationName(alias, new Date(0)), META), {
    code: "INDEX_MISSING",
  });
});

test("refreshing pauses during the load and is the user's afterwards", async () => {
  const alias = server.indexName("books");
  const { generation } = await ensureIndex(client, definition(alias));
  await pauseRefresh(client, generation);
  assert.equal(await refreshInterval(generation), "-1");
  await restoreRefresh(client, generation, { index: { refresh_interval: "7s" } });
  assert.equal(await refreshInterval(generation), "7s");
  await restoreRefresh(client, generation, null);
  assert.equal(await refreshInterval(generation), undefined);
});

test("a foreign index, or an alias of one, is never taken over nor removed", async () => {
  const plain = server.indexName("plain");
  await server.request("PUT", `/${plain}`);
  assert.deepEqual(await describeIndex(client, plain), { generation: plain, meta: null, isAlias: false });
  await assert.rejects(ensureIndex(client, definition(plain)), { code: "INDEX_FOREIGN" });
  assert.deepEqual(await dropIndex(client, plain), { dropped: [], foreign: [plain] });

  const aliased = server.indexName("aliased");
  const target = server.indexName("target");
  await server.request("PUT", `/${target}`, { aliases: { [aliased]: {} } });
  await assert.rejects(ensureIndex(client, definition(aliased)), { code: "INDEX_FOREIGN" });
  assert.deepEqual(await dropIndex(client, aliased), { dropped: [], foreign: [target] });
  assert.equal((await server.request("HEAD", `/${plain},${target}`)).status, 200);

  const several = server.indexName("several");
  for (const index of [plain, target]) await server.request("PUT", `/${index}/_alias/${several}`);
  await assert.rejects(describeIndex(client, several), { code: "INDEX_FOREIGN" });
});

test("teardown removes the alias, its index and generations left over, and nothing else", async () => {
  const alias = server.indexName("books");
  const neighbour = `${alias}_archive`;
  const lookalike = generationName(alias, new Date(0));
  await ensureIndex(client, definition(neighbour));
  await server.request("PUT", `/${lookalike}`);
  const { generation } = await ensureIndex(client, definition(alias));
  // Without the alias it is a leftover, as of a reindex that was cut short.
  await server.request("DELETE", `/${generation}/_alias/${alias}`);
  const second = await ensureIndex(client, definition(alias));
  assert.notEqual(second.generation, generation);
  await server.request("POST", `/${second.generation}/_close`);

  assert.deepEqual(await dropIndex(client, alias), {
    dropped: [generation, second.generation].sort(),
    foreign: [],
  });
  assert.equal(await describeIndex(client, alias), null);
  assert.ok(await describeIndex(client, neighbour));
  assert.equal((await server.request("HEAD", `/${lookalike}`)).status, 200);
  assert.deepEqual(await dropIndex(client, alias), { dropped: [], foreign: [] });
});

test("a mapping that the engine refuses is named with its reason", async () => {
  const alias = server.indexName("books");
  const mapping = { properties: { price: { type: "no-such-type" } } };
  await assert.rejects(ensureIndex(client, { ...definition(alias), mapping }), {
    code: "SEARCH_REFUSED",
    message: /no-such-type/,
  });
  assert.equal(await describeIndex(client, alias), null);
  await assert.rejects(ensureIndex(client, definition("books,users")), { code: "SCHEMA_INVALID" });
});

test("all ids are listed, page by page, and the reader sets the pace", async () => {
  const alias = server.indexName("books");
  const { generation } = await ensureIndex(client, definition(alias));
  const writer = new BulkWriter({ client, generation, semaphore: new Semaphore(1) });
  const writes = Array.from({ length: 5_003 }, (_, n): Write => [`id ${n}`, 1n, {}]);
  await writer.send(bulk(...writes), NEVER);
  await refresh(client, generation);
  assert.equal(await countDocuments(client, generation), 5_003);

  const seen = new Set<string>();
  const pages: number[] = [];
  for await (const ids of listIds(client, generation)) {
    for (const id of ids) seen.add(id);
    pages.push(ids.length);
  }
  assert.deepEqual(pages, [5_000, 3]);
  assert.equal(seen.size, 5_003);

  const control = new AbortController();
  await assert.rejects(async () => {
    for await (const _ids of listIds(client, generation, control.signal)) control.abort(new Error("stop"));
  }, /stop/);
  // A reader that has seen enough.
  for await (const _ids of listIds(client, generation)) break;
  await assert.rejects(listIds(client, `${generation}0`).next(), { code: "INDEX_MISSING" });
  // No search context is left behind.
  const { body } = await server.request(
    "GET",
    `/${generation}/_stats/search?filter_path=_all.total.search.scroll_current`,
  );
  assert.deepEqual(body, { _all: { total: { search: { scroll_current: 0 } } } });
});

test("a pipeline can be asked for", async () => {
  assert.equal(await pipelineExists(client, "no-such-pipeline"), false);
});
