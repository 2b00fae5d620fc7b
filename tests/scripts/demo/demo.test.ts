/**
 * The demo's own parts, without pgsync running: what it expects of documents agrees with the SQL that pgsync would build them by (two
 * implementations that share nothing), its comparison finds what is wrong, and its changes show.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { before, describe, test } from "node:test";
import postgres from "postgres";
import { loadBookshop } from "../../../examples/bookshop/load.ts";
import { type Change, endlessChanges, fixedChanges } from "../../../scripts/demo/changes.ts";
import { compareAll, isEqual } from "../../../scripts/demo/check.ts";
import { type ExactObject, firstDifference, isObject, parseExact } from "../../../scripts/demo/digits.ts";
import { expectedDocuments } from "../../../scripts/demo/expected.ts";
import { searchClient } from "../../../scripts/demo/search_client.ts";
import { readCatalog } from "../../../src/catalog/read.ts";
import { loadSql } from "../../../src/mapping/document_sql.ts";
import { mapDocument } from "../../../src/mapping/tree.ts";
import { loadSchema } from "../../../src/schema/load.ts";
import type { NodeSchema, QualifiedName } from "../../../src/schema/tree.ts";
import { useElasticsearch } from "../../support/elasticsearch.ts";
import { usePostgres } from "../../support/postgres.ts";

const SCHEMA = fileURLToPath(new URL("../../../examples/bookshop/schema.yaml", import.meta.url));
const BOOKS = 600;

/** A bookshop of its own, and the documents by pgsync's SQL. */
async function bookshop() {
  const database = await (await usePostgres(17)).createDatabase();
  await loadBookshop({ url: database.url, books: BOOKS });
  const sql = postgres(database.url, { max: 1, onnotice: () => {}, connection: { TimeZone: "UTC" } });
  const { documents: [schema] } = await loadSchema(SCHEMA, { environment: {} });
  assert.ok(schema);
  const statement = loadSql(mapDocument(schema, await readCatalog(sql, tablesOf(schema.root))), {
    kind: "whole",
  });
  const texts = async () =>
    new Map((await sql.unsafe(statement)).map((row) => [String(row["id"]), String(row["document"])]));
  const documents = async () => new Map([...await texts()].map(([id, text]) => [id, object(text)]));
  return { url: database.url, sql, texts, documents };
}

function tablesOf(node: NodeSchema): QualifiedName[] {
  return [node, ...node.relationship?.throughTables ?? [], ...node.children.flatMap(tablesOf)];
}

function object(text: string): ExactObject {
  const value = parseExact(text);
  assert.ok(isObject(value));
  return value;
}

describe("the bookshop's documents", () => {
  let shop: Awaited<ReturnType<typeof bookshop>>;
  before(async () => {
    shop = await bookshop();
  });

  test("are the same by plain TypeScript and by pgsync's SQL", async () => {
    const [expected, built] = [await expectedDocuments(shop.url), await shop.documents()];
    assert.equal(expected.size, BOOKS);
    assert.deepEqual([...built.keys()].sort(), [...expected.keys()].sort());
    for (const [id, document] of expected) assert.equal(firstDifference(document, built.get(id)), null, id);
  });

  test("are compared with those in the search engine, to the digit", async () => {
    const search = await useElasticsearch();
    const index = search.indexName("bookshop");
    const texts = await shop.texts();
    const mapping = { dynamic: false };
    assert.equal((await search.request("PUT", `/${index}`, { mappings: mapping })).status, 200);
    const lines = [...texts].map(([id, text]) => `{"index":{"_id":"${id}"}}\n${text}\n`).join("");
    assert.equal((await search.request("POST", `/${index}/_bulk`, lines)).status, 200);
    const client = searchClient(search.url);
    const good = await compareAll(shop.url, client, index);
    assert.ok(isEqual(good) && good.equal === BOOKS, good.examples.join("\n"));

    const [[one, text = ""] = ["", ""], [two] = [""]] = [...texts];
    await search.request("PUT", `/${index}/_doc/${one}`, JSON.parse(text));
    await search.request("DELETE", `/${index}/_doc/${two}`);
    await search.request("PUT", `/${index}/_doc/nobody`, { isbn: "nobody" });
    const bad = await compareAll(shop.url, client, index);
    assert.deepEqual(
      { equal: bad.equal, different: bad.different, missing: bad.missing, surplus: bad.surplus },
      // JSON.parse has rounded the catalogue number, and nothing else.
      { equal: BOOKS - 2, different: [one], missing: [two], surplus: ["nobody"] },
    );
    assert.ok(
      bad.examples.some((line) => line.startsWith(`${one}: catalogue_number: expected 90071992547`)),
      bad.examples.join("\n"),
    );
    assert.equal(isEqual(bad), false);
  });
});

describe("a change of the demo", () => {
  for (
    const [name, changes, count] of [["--once", fixedChanges, 15], ["going on", endlessChanges, 12]] as const
  ) {
    test(`shows in the documents it names, and only once it is made (${name})`, async () => {
      const shop = await bookshop();
      const made: Change[] = [];
      for await (const change of changes(shop.sql)) {
        const before = await shop.documents();
        assert.ok(change.ids.length > 0, change.text);
        assert.ok(change.ids.some((id) => !change.shows(before.get(id), id)), `shows before: ${change.text}`);
        await shop.sql.begin((transaction) => change.apply(transaction));
        const after = await shop.documents();
        for (const id of change.ids) {
          assert.ok(change.shows(after.get(id), id), `does not show: ${change.text}`);
        }
        for (const [id, document] of after) {
          if (change.ids.includes(id)) continue;
          assert.equal(
            firstDifference(before.get(id), document),
            null,
            `another document changed: ${change.text}`,
          );
        }
        if (made.push(change) === count) break;
      }
      assert.equal(made.length, count);
      await shop.sql.end({ timeout: 1 });
    });
  }
});

describe("the difference of two documents", () => {
  for (
    const [expected, found, difference] of [
      ['{"a":1,"b":[null]}', '{"b":[null],"a":1}', null],
      ['{"a":1.50}', '{"a":1.5}', "a: expected 1.50, found 1.5"],
      ['{"a":[{"b":1},{"b":2}]}', '{"a":[{"b":2},{"b":1}]}', "a[0].b: expected 1, found 2"],
      ['{"a":null}', "{}", "a: expected null, found nothing"],
      ['{"a":null}', '{"a":[]}', "a: expected null, found []"],
      ['{"a":"1"}', '{"a":1}', 'a: expected "1", found 1'],
      ["{}", '{"a":false}', "a: expected nothing, found false"],
    ] as const
  ) {
    test(`${expected} and ${found}: ${difference ?? "none"}`, () => {
      assert.equal(firstDifference(parseExact(expected), parseExact(found)), difference);
    });
  }
});
