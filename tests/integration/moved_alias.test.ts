import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { client } from "../support/elasticsearch.ts";
import { Bench } from "./support.ts";

const ROWS = "create table r (id int primary key, t text); insert into r values (1, 'one'), (2, 'two')";

async function generationOf(bench: Bench): Promise<{ index: string; generation: string; mappings: unknown }> {
  const index = bench.schema.documents[0]?.index ?? "";
  const { body } = await client(bench.searchUrl).request("GET", `/${index}`);
  const [[generation, described] = []] = Object.entries(body as Record<string, { mappings: unknown }>);
  assert.ok(generation !== undefined && described !== undefined);
  return { index, generation, mappings: described.mappings };
}

describe("An alias that somebody has moved", () => {
  it("to an older copy that says it is loaded: the copy is loaded anew", async () => {
    await using bench = await Bench.open(17, ROWS, "table: r");
    await bench.runOnce();
    const search = client(bench.searchUrl);
    const { index, generation, mappings } = await generationOf(bench);
    const copy = `${index}_20200101000000000`;
    const done = async (method: string, path: string, body?: unknown) =>
      assert.equal((await search.request(method, path, body)).status, 200, path);
    await done("PUT", `/${copy}`, { mappings, aliases: { [`${copy}_WRITE`]: { is_hidden: true } } });
    for (const [id, t] of [[1, "one"], [2, "two"]]) {
      const action = { index: { _index: copy, _id: String(id), version: 1, version_type: "external" } };
      await done("POST", "/_bulk", `${JSON.stringify(action)}\n${JSON.stringify({ id, t })}\n`);
    }
    await bench.write("update r set t = 'newer' where id = 1", "delete from r where id = 2");
    await bench.runOnce();
    await done("POST", "/_aliases", {
      actions: [
        { remove: { index: generation, alias: index } },
        { add: { index: copy, alias: index, is_write_index: true } },
      ],
    });
    await bench.runOnce();
    await bench.assertEqual("after the alias was moved");
    assert.equal((await generationOf(bench)).generation, copy);
  });
});
