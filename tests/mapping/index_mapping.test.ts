import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import postgres from "postgres";
import { z } from "zod";
import { readCatalog } from "../../src/catalog/read.ts";
import type { Catalog } from "../../src/catalog/types.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import { indexMapping } from "../../src/mapping/index_mapping.ts";
import { mapDocument } from "../../src/mapping/tree.ts";
import type { DocumentSchema, JsonObject, NodeSchema } from "../../src/schema/tree.ts";
import { type SharedElasticsearch, useElasticsearch } from "../support/elasticsearch.ts";
import { usePostgres } from "../support/postgres.ts";
import { catalogOf, node, PLACE, relation } from "./fixtures.ts";

const TEXT = { type: "text", fields: { keyword: { type: "keyword", ignore_above: 256 } } };
const INTEGER = { type: "integer", ignore_malformed: true };
const LONG = { type: "long", ignore_malformed: true };
const DOUBLE = { type: "double", ignore_malformed: true };
const DATE = { type: "date", ignore_malformed: true };

const CATALOG = catalogOf(
  relation("book", {
    id: "int8",
    title: "text",
    price: "numeric",
    published: "date",
    doc: "jsonb",
    publisher_id: "int4",
  }, {
    key: ["id"],
    references: ["publisher_id -> publisher(id)"],
  }),
  relation("publisher", { id: "int4", name: "text" }, { key: ["id"] }),
  relation("rating", { value: "float4", book_id: "int8" }, { references: ["book_id -> book(id)"] }),
);
const PUBLISHER = node("publisher", { relationship: { type: "one_to_one" } });

describe("the index mapping", () => {
  it("has the type of each column", () => {
    assert.deepEqual(properties(node("book", { columns: ["id", "title", "price", "published"] })), {
      id: LONG,
      title: TEXT,
      price: DOUBLE,
      published: DATE,
    });
  });

  it("has objects for children, and plain values for scalar ones", () => {
    const rating = node("rating", { columns: ["value"], relationship: { variant: "scalar" } });
    assert.deepEqual(properties(node("book", { columns: ["id"], children: [PUBLISHER, rating] })), {
      id: LONG,
      publisher: { properties: { id: INTEGER, name: TEXT } },
      rating: { type: "float", ignore_malformed: true },
    });
  });

  it("has fields under their new names, labels and the renames that a parent nests included", () => {
    const child = node("publisher", { label: "by", relationship: { type: "one_to_one" } });
    const renamed = node("book", {
      columns: ["id"],
      children: [child],
      transform: { rename: { id: "number", by: { name: "called" } } },
    });
    assert.deepEqual(properties(renamed), {
      number: LONG,
      by: { properties: { id: INTEGER, called: TEXT } },
    });
  });

  it("has text for what concat makes, and a number for xmin", () => {
    const made = node("book", {
      columns: ["xmin"],
      transform: { concat: [{ columns: ["id"], destination: "slug", delimiter: "-" }] },
    });
    assert.deepEqual(properties(made), { xmin: LONG, slug: TEXT });
  });

  it("leaves JSON to dynamic mapping, but not the text at the end of ->>", () => {
    assert.deepEqual(properties(node("book", { columns: ["doc", "doc->a", "doc->>b"] })), { doc_b: TEXT });
  });

  it("guesses dynamic types as Elasticsearch does, without refusing what comes later", () => {
    const mapping = indexMapping(mapDocument(document(node("book")), CATALOG));
    assert.deepEqual(
      z.array(z.record(z.string(), z.object({ match_mapping_type: z.string(), mapping: z.unknown() })))
        .parse(mapping["dynamic_templates"]).flatMap((template) => Object.values(template)).map((
          template,
        ) => [
          template.match_mapping_type,
          template.mapping,
        ]),
      [["date", DATE], ["long", DOUBLE], ["double", DOUBLE]],
    );
  });

  it("requires routing where the document is routed", () => {
    const { _routing } = indexMapping(mapDocument({ ...document(node("book")), routing: "id" }, CATALOG));
    assert.deepEqual(_routing, { required: true });
  });

  it("cannot have a field that Elasticsearch keeps for itself", () => {
    const reserved = node("book", { transform: { rename: { id: "_id" } } });
    assert.throws(() => properties(reserved), (error) => {
      assert.ok(error instanceof PgsyncError);
      assert.equal(error.code, "SCHEMA_INVALID");
      assert.match(error.message, /gives a field "_id", a name that the search engine keeps for itself/);
      return true;
    });
  });
});

describe("what the schema file says of a field", () => {
  it("wins, whole: a node's mapping", () => {
    const mapped = node("book", {
      columns: ["id", "title"],
      transform: { mapping: { title: { type: "keyword" } } },
    });
    assert.deepEqual(properties(mapped), { id: LONG, title: { type: "keyword" } });
  });

  it("lies under the label where a child says it, its other fields stay as they are", () => {
    const child = node("publisher", {
      label: "by",
      relationship: { type: "one_to_one" },
      transform: { mapping: { name: { type: "keyword" } } },
    });
    assert.deepEqual(properties(node("book", { columns: ["id"], children: [child] })), {
      id: LONG,
      by: { properties: { id: INTEGER, name: { type: "keyword" } } },
    });
  });

  it("may be said of a child by its parent, with or without `properties`", () => {
    const expected = { publisher: { properties: { id: INTEGER, name: { type: "keyword" } } } };
    const definition = { name: { type: "keyword" } };
    for (const publisher of [definition, { properties: definition }]) {
      const mapped = node("book", {
        columns: ["xmin"],
        children: [PUBLISHER],
        transform: { mapping: { publisher } },
      });
      assert.deepEqual(properties(mapped), { xmin: LONG, ...expected });
    }
  });

  it("makes a child nested, or one that is not looked into", () => {
    const book = node("book", { columns: ["xmin"], children: [PUBLISHER] });
    assert.deepEqual(properties(book, { mapping: { publisher: { type: "nested" } } })["publisher"], {
      type: "nested",
      properties: { id: INTEGER, name: TEXT },
    });
    const closed = { type: "object", enabled: false };
    assert.deepEqual(properties(book, { mapping: { publisher: closed } })["publisher"], closed);
    const flattened = { type: "flattened" };
    assert.deepEqual(properties(book, { mapping: { publisher: flattened } })["publisher"], flattened);
  });

  it("goes from mappings over a node's mapping to mapping, field by field", () => {
    const given = node("book", {
      columns: ["id", "title", "price"],
      transform: { mapping: { title: { type: "byte" } } },
    });
    assert.deepEqual(
      properties(given, {
        mappings: { properties: { id: { type: "keyword" }, title: { type: "short" }, more: { type: "ip" } } },
        mapping: { price: { type: "half_float" } },
      }),
      {
        id: { type: "keyword" },
        title: { type: "byte" },
        price: { type: "half_float" },
        more: { type: "ip" },
      },
    );
  });

  it("holds for the whole body too", () => {
    const body = indexMapping(
      mapDocument(
        document(node("book"), { mappings: { date_detection: false, _source: { excludes: ["doc"] } } }),
        CATALOG,
      ),
    );
    assert.equal(body["date_detection"], false);
    assert.deepEqual(body["_source"], { excludes: ["doc"] });
    assert.ok(Object.hasOwn(body, "properties"));
  });

  it("leaves to its dynamic templates what they take", () => {
    const templates = [
      { keywords: { match_mapping_type: "string", match: "*e", mapping: { type: "keyword" } } },
      { nested: { match_mapping_type: "object", mapping: { type: "nested" } } },
    ];
    const book = node("book", { columns: ["id", "title", "published"], children: [PUBLISHER] });
    assert.deepEqual(
      indexMapping(mapDocument(document(book, { mapping: { dynamic_templates: templates } }), CATALOG)),
      {
        dynamic_templates: templates,
        properties: {
          id: LONG,
          published: DATE,
          publisher: { type: "nested", properties: { id: INTEGER } },
        },
      },
    );
  });

  it("may close the mapping: then nothing is added", () => {
    const closed = { dynamic: false, properties: { title: { type: "keyword" } } };
    assert.deepEqual(
      indexMapping(mapDocument(document(node("book"), { mappings: closed }), CATALOG)),
      closed,
    );
  });
});

describe("Elasticsearch and the derived mapping", () => {
  let sql: postgres.Sql;
  let elasticsearch: SharedElasticsearch;

  before(async () => {
    elasticsearch = await useElasticsearch();
    sql = postgres((await (await usePostgres()).createDatabase()).url, { max: 1, onnotice: () => {} });
  });

  after(() => sql?.end({ timeout: 1 }));

  it("take the type that is derived for each of PostgreSQL's", async () => {
    const types = await sql`
      SELECT format_type(oid, -1) AS type, format_type(typarray, -1) AS array FROM pg_type
      WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm') AND typarray <> 0 AND typcategory <> 'Z'
        AND typname NOT IN ('json', 'jsonb', 'gtsvector') ORDER BY oid`;
    assert.ok(types.length > 60, `${types.length} types`);
    const columns = types.map((row, index) => `t${index} ${row["type"]}, a${index} ${row["array"]}`);
    await sql.unsafe(`CREATE TABLE everything (id int PRIMARY KEY, ${columns.join(", ")})`);
    const mapping = indexMapping(mapDocument(document(node("everything")), await catalogFor("everything")));
    assert.equal(
      Object.keys(z.record(z.string(), z.unknown()).parse(mapping["properties"])).length,
      1 + 2 * types.length,
    );
    await createIndex(mapping);
  });

  it("take every row as to_json prints it, the extreme ones too", async () => {
    await sql.unsafe(`
      CREATE EXTENSION citext;
      CREATE TYPE mood AS ENUM ('well', 'ill');
      CREATE TYPE inner_pair AS (x float8, at date);
      CREATE TYPE pair AS (label text, pairs inner_pair[]);
      CREATE DOMAIN score AS numeric CHECK (VALUE IS NOT NULL);
      CREATE TABLE sample (
        id int PRIMARY KEY, small int2, big int8, real float4, double float8, numeric numeric, score score, flag bool,
        date date, at timestamp, atz timestamptz, time time, timez timetz, span interval, text text, char char(4),
        email citext, mood mood, uuid uuid, bytes bytea, inet inet, mac macaddr, money money, bits bit(3),
        numbers int4range, dates daterange, point point, search tsvector, json json, jsonb jsonb,
        ints int[], matrix numeric[], moods mood[], dated timestamptz[], pair pair, documents jsonb[]
      );
      INSERT INTO sample VALUES
        (1, 3, 9007199254740993, 1.5, 3, 3, 3, true, '2020-01-02', '2020-01-02 03:04:05', '2020-01-02 03:04:05+05:30',
          '03:04:05', '03:04:05+02', '1 day', '2020-01-02', 'a', 'A@b.c', 'well', gen_random_uuid(), '\\xdead', '10.0.0.1/8',
          '08:00:2b:01:02:03', 12.5, '101', '[1,5)', '[2020-01-01,)', '(1,2)', 'a:1 b:2', '{"n": 1, "d": "2020-01-01"}', '{"f": 3}',
          '{1,NULL,3}', '{{1,2.5},{3,4}}', '{well,ill}', '{2020-01-01}', ('p', ARRAY[(3, '2020-01-01')::inner_pair]), '{}'),
        (2, -32768, -9223372036854775808, 'NaN', '-Infinity', 'NaN', 1e400, false, 'infinity', '-infinity', 'infinity',
          '24:00', '00:00-12', '-1 mon', 'no date', 'b', 'x', 'ill', NULL, '', '::1', NULL, -1, '000',
          'empty', '(,)', NULL, '', '{"n": "many", "d": "soon"}', '{"f": 1.5}',
          '{}', '{NaN}', '{NULL}', '{infinity}', (NULL, ARRAY[('NaN', 'infinity')::inner_pair, NULL]), NULL),
        (3, NULL, NULL, 3e38, 1e308, 12345678901234567890.123456789, -0.000000001, NULL, '0044-03-15 BC', '0044-03-15 01:02:03.456 BC',
          '10000-01-01 00:00:00.123456+00', NULL, NULL, NULL, repeat('word ', 20000), NULL, repeat('x', 40000), NULL, NULL,
          convert_to(repeat('y', 40000), 'UTF8'), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"o": {"p": []}}', '{"f": "text"}',
          NULL, NULL, NULL, '{0044-03-15 BC,1883-11-18 00:00:00+00}', NULL, NULL),
        (4, 1, 1, 1.25, 1.25, 1.25, 1.25, true, '1800-01-01', '1800-01-01', '1800-01-01 00:00:00.000001+00',
          NULL, NULL, NULL, '', '', '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'null', '{}',
          NULL, NULL, NULL, NULL, NULL, NULL)`);
    const index = await createIndex(
      indexMapping(mapDocument(document(node("sample")), await catalogFor("sample"))),
    );
    // Old time zones were off by seconds, and are printed so.
    await sql`SET TimeZone = 'Europe/Amsterdam'`;
    const rows = await sql`SELECT id, to_json(sample)::text AS source FROM sample ORDER BY id`;
    const bodies = rows.map((row) => ({ id: String(row["id"]), source: String(row["source"]) }));
    const { body } = await elasticsearch.request(
      "POST",
      `/${index}/_bulk?refresh=true`,
      bodies.map(({ id, source }) => `{"index":{"_id":"${id}"}}\n${source}\n`).join(""),
    );
    const items =
      z.object({ items: z.array(z.object({ index: z.looseObject({ status: z.number() }) })) }).parse(body)
        .items;
    assert.deepEqual(items.map((item) => item.index.status === 201 ? 201 : item.index), [201, 201, 201, 201]);

    // What is malformed is left out of the index field by field, and `_source` keeps every digit.
    assert.deepEqual(await ignored(index), {
      "2": [
        ...[
          "at",
          "atz",
          "date",
          "dated",
          "double",
          "json.d",
          "json.n",
          "matrix",
          "numeric",
          "pair.pairs.at",
          "pair.pairs.x",
        ],
        ...["real", "score"],
      ],
      "3": ["at", "atz", "bytes.keyword", "date", "dated", "email.keyword", "jsonb.f", "text.keyword"],
    });
    for (const { id, source } of bodies) assert.equal(await elasticsearch.sourceText(index, id), source);

    assert.equal(await hits(index, { range: { double: { gt: 1.2, lt: 1.3 } } }), 1);
    assert.equal(await hits(index, { range: { atz: { gte: "1799-12-31", lt: "1800-01-02" } } }), 1);
    assert.equal(await hits(index, { term: { big: "9007199254740993" } }), 1);
    assert.equal(await hits(index, { term: { "mood.keyword": "ill" } }), 1);
    assert.equal(await hits(index, { term: { "pair.pairs.x": 3 } }), 1);
  });

  async function catalogFor(table: string): Promise<Catalog> {
    return await readCatalog(sql, [{ schema: "public", table }]);
  }

  async function createIndex(mappings: JsonObject): Promise<string> {
    const index = elasticsearch.indexName("mapping");
    const { status, body } = await elasticsearch.request("PUT", `/${index}`, { mappings });
    assert.equal(status, 200, JSON.stringify(body));
    return index;
  }

  async function ignored(index: string): Promise<Record<string, string[]>> {
    const answer = await search(index, { exists: { field: "_ignored" } });
    return Object.fromEntries(answer.hits.hits.map((hit) => [hit._id, (hit._ignored ?? []).toSorted()]));
  }

  async function hits(index: string, query: JsonObject): Promise<number> {
    return (await search(index, query)).hits.hits.length;
  }

  async function search(index: string, query: JsonObject) {
    const { body } = await elasticsearch.request("POST", `/${index}/_search`, {
      query,
      sort: ["id"],
      _source: false,
    });
    return z.object({
      hits: z.object({
        hits: z.array(z.object({ _id: z.string(), _ignored: z.array(z.string()).optional() })),
      }),
    }).parse(body);
  }
});

function document(root: NodeSchema, given: Partial<DocumentSchema> = {}): DocumentSchema {
  return {
    database: "shop",
    index: "books",
    root,
    plugins: [],
    pipeline: null,
    routing: null,
    setting: null,
    mapping: null,
    mappings: null,
    place: PLACE,
    ...given,
  };
}

function properties(root: NodeSchema, given: Partial<DocumentSchema> = {}): Record<string, unknown> {
  return z.record(z.string(), z.unknown()).parse(
    indexMapping(mapDocument(document(root, given), CATALOG))["properties"],
  );
}
