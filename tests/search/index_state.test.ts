import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connectSearch } from "../../src/search/client.ts";
import { indexFaults } from "../../src/search/index_state.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { startSearchProxy } from "../support/search_proxy.ts";
import { NEVER, optionsFor } from "./setup.ts";

const server = await useElasticsearch();
const client = await connectSearch(optionsFor(server.url));
after(() => client.close());

/** What is told of indices, in its words. */
async function told(names: readonly string[], through = client): Promise<(string | null)[]> {
  const found = await indexFaults(through, names, NEVER, 10);
  return names.map((name) => found.get(name)?.message ?? (found.has(name) ? null : "not told"));
}

async function makeIndex(hint: string): Promise<string> {
  const name = server.indexName(hint);
  assert.equal((await server.request("PUT", `/${name}`)).status, 200);
  return name;
}

async function set(index: string, settings: unknown): Promise<void> {
  assert.equal((await server.request("PUT", `/${index}/_settings`, settings)).status, 200);
}

test("an index that is closed, blocked or gone takes no documents; none of them hides another", async () => {
  const [open, closed, blocked, gone] = await Promise.all(
    ["open", "closed", "blocked", "gone"].map((hint) => makeIndex(hint)),
  );
  assert.ok(open && closed && blocked && gone);
  assert.deepEqual(await told([open, closed, blocked, gone]), [null, null, null, null]);
  await server.request("POST", `/${closed}/_close`);
  await server.request("DELETE", `/${gone}`);
  for (const block of ["write", "read_only", "read_only_allow_delete"]) {
    await set(blocked, { [`index.blocks.${block}`]: true });
    assert.deepEqual(await told([open, closed, blocked, gone]), [
      null,
      `The index "${closed}" is closed.`,
      `The index "${blocked}" is blocked by its setting index.blocks.${block}.`,
      `The index "${gone}" does not exist any more.`,
    ]);
    await set(blocked, { [`index.blocks.${block}`]: false });
    assert.deepEqual(await told([blocked]), [null]);
  }
  await server.request("POST", `/${closed}/_open`);
  assert.deepEqual(await told([closed, gone]), [null, `The index "${gone}" does not exist any more.`]);
});

test("many indices with long names are asked about in several requests", async () => {
  const names = await Promise.all(Array.from({ length: 20 }, () => makeIndex("long-".repeat(40))));
  assert.deepEqual(await told(names), names.map(() => null));
});

test("of an index that this user may not ask about nothing is told", async () => {
  const proxy = await startSearchProxy(server.url);
  const watched = await connectSearch(optionsFor(proxy.url));
  try {
    const index = await makeIndex("secret");
    await set(index, { "index.blocks.write": true });
    proxy.fail({ kind: "status", status: 403 }, /_settings/);
    assert.deepEqual(await told([index], watched), ["not told"]);
    proxy.fail({ kind: "status", status: 503 }, /_settings/);
    await assert.rejects(indexFaults(watched, [index], NEVER, 10), { code: "SEARCH_UNAVAILABLE" });
    await set(index, { "index.blocks.write": null });
  } finally {
    await watched.close();
    await proxy.stop();
  }
});
