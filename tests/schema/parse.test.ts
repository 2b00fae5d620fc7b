import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseSchema } from "../../src/schema/parse.ts";
import type { JsonValue, NodeSchema } from "../../src/schema/tree.ts";
import { parse, rootOf } from "./support.ts";

function fixture(name: string): string {
  return readFileSync(new URL(`fixtures/${name}`, import.meta.url), "utf8");
}

/** The tree without its places, which differ between two texts of one schema. */
function withoutPlaces(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (key, part) => key === "place" ? undefined : part));
}

test("the bookshop is the same tree in YAML and in JSON", () => {
  const environment = { BOOK_DATABASE: "books" };
  const yaml = parseSchema(fixture("book.yaml"), "book.yaml", environment);
  const json = parseSchema(fixture("book.json"), "book.json", environment);
  assert.deepEqual(withoutPlaces(yaml.documents), withoutPlaces(json.documents));
  assert.deepEqual(yaml.warnings, []);
  assert.deepEqual(json.warnings, []);

  const [document] = yaml.documents;
  assert.ok(document);
  assert.equal(document.database, "books");
  assert.equal(document.index, "book");
  assert.deepEqual(outline(document.root), [
    "book public.book",
    "  publisher public.publisher one_to_one object",
    "    city public.city one_to_one object",
    "      country public.country one_to_one object",
    "        continent public.continent one_to_one scalar",
    "  authors public.author one_to_many object through public.book_author",
    "  shelves stock.shelf one_to_many scalar through logistics.book_shelf",
    "  ratings public.rating one_to_many object",
  ]);
});

function outline(node: NodeSchema, indent = ""): string[] {
  const link = node.relationship;
  const through = link?.throughTables.map((table) => ` through ${table.schema}.${table.table}`).join("") ??
    "";
  const how = link === null ? "" : ` ${link.type} ${link.variant}${through}`;
  const own = `${indent}${node.label} ${node.schema}.${node.table}${how}`;
  return [own, ...node.children.flatMap((child) => outline(child, `${indent}  `))];
}

test("every node knows where it stands", () => {
  const { documents } = parseSchema(fixture("book.yaml"), "book.yaml", {});
  const city = documents[0]?.root.children[0]?.children[0];
  assert.deepEqual(city?.place, {
    file: "book.yaml",
    line: 29,
    column: 13,
    path: "[0].nodes.children[0].children[0]",
  });
  assert.deepEqual(city?.relationship?.place.path, "[0].nodes.children[0].children[0].relationship");
});

test("a document with two keys is filled with its defaults", () => {
  const { documents, source } = parse("{database: shop, nodes: {table: book}}");
  const place = { file: "s.yaml", line: 1, column: 1, path: "" };
  assert.equal(source, "s.yaml");
  assert.deepEqual(documents, [{
    database: "shop",
    index: "shop",
    root: {
      table: "book",
      schema: "public",
      label: "book",
      columns: [],
      primaryKey: [],
      baseTables: [],
      relationship: null,
      transform: { rename: {}, replace: {}, concat: [], mapping: {}, move: null },
      children: [],
      place: { ...place, column: 25, path: "nodes" },
    },
    plugins: [],
    pipeline: null,
    routing: null,
    setting: null,
    mapping: null,
    mappings: null,
    place,
  }]);
});

test("null is the same as no key, as YAML's empty values are", () => {
  const empty = rootOf(
    "database: d\nnodes:\n  table: t\n  schema:\n  columns:\n  children:\n  transform:\n    rename:\n",
  );
  const absent = rootOf("database: d\nnodes:\n  table: t\n");
  assert.deepEqual(empty, absent);
});

const MANY: readonly [string, string][] = [
  ["a JSON array", `[{"database":"a","nodes":{"table":"t"}},{"database":"b","nodes":{"table":"t"}}]`],
  ["a YAML list", "- database: a\n  nodes: {table: t}\n- database: b\n  nodes: {table: t}\n"],
  ["a YAML stream", "database: a\nnodes: {table: t}\n---\ndatabase: b\nnodes: {table: t}\n"],
  [
    "a stream with empty documents",
    "---\n# nothing\n---\ndatabase: a\nnodes: {table: t}\n---\n---\ndatabase: b\nnodes: {table: t}\n---\n",
  ],
  ["a stream of lists", "- database: a\n  nodes: {table: t}\n---\n- database: b\n  nodes: {table: t}\n"],
];

for (const [what, text] of MANY) {
  test(`several documents: ${what}`, () => {
    const { documents } = parse(text);
    assert.deepEqual(documents.map(({ database, place }) => [database, place.path]), [["a", "[0]"], [
      "b",
      "[1]",
    ]]);
  });
}

test("YAML's anchors and aliases share parts between nodes", () => {
  const root = rootOf(`
database: d
nodes:
  table: t
  children:
    - {table: a, relationship: &many {type: one_to_many, variant: object}}
    - {table: b, relationship: *many}
`);
  assert.deepEqual(root.children.map(({ relationship }) => relationship?.type), [
    "one_to_many",
    "one_to_many",
  ]);
});

test("a byte order mark and Windows line ends do not move the places", () => {
  const { documents } = parse("\uFEFFdatabase: d\r\nnodes:\r\n  table: t\r\n");
  assert.deepEqual(documents[0]?.root.place, { file: "s.yaml", line: 3, column: 3, path: "nodes" });
});

test("JSON indented with tabs is read, though YAML forbids them", () => {
  const text = JSON.stringify([{ database: "d", nodes: { table: "t", columns: ["a"] } }], null, "\t");
  assert.deepEqual(parse(text).documents[0]?.root.columns, ["a"]);
});

const FOREIGN_KEYS: readonly [string, JsonValue][] = [
  ["lists", { parent: ["a", "b"], child: ["c", "d"] }],
  ["by table", { parent: { t: ["a", "b"] }, child: { c: ["c", "d"] } }],
];

for (const [what, foreignKey] of FOREIGN_KEYS) {
  test(`foreign_key as ${what}`, () => {
    const relationship = { type: "one_to_many", variant: "object", foreign_key: foreignKey };
    const nodes = { table: "t", children: [{ table: "c", relationship }] };
    const [child] = rootOf(JSON.stringify({ database: "d", nodes })).children;
    assert.deepEqual(child?.relationship?.foreignKey, { parent: ["a", "b"], child: ["c", "d"] });
  });
}

test("foreign_key as plain names, alone or by table", () => {
  const relationship = {
    type: "one_to_many",
    variant: "object",
    foreign_key: { parent: "a", child: { c: "b" } },
  };
  const nodes = { table: "t", children: [{ table: "c", relationship }] };
  const [child] = rootOf(JSON.stringify({ database: "d", nodes })).children;
  assert.deepEqual(child?.relationship?.foreignKey, { parent: ["a"], child: ["b"] });
});

test("a child's schema is public, whatever its parent's; its link table lies in the child's", () => {
  const root = rootOf(`
database: d
nodes:
  table: t
  schema: one
  children:
    - {table: a, relationship: {type: one_to_many, variant: object, through_tables: [l]}}
    - {table: b, schema: two, relationship: {type: one_to_many, variant: object, through_tables: [l]}}
    - {table: c, schema: two, relationship: {type: one_to_many, variant: object, through_tables: [three.l]}}
`);
  assert.deepEqual(
    root.children.map(({ schema, relationship }) => [schema, relationship?.throughTables[0]?.schema]),
    [["public", "public"], ["two", "two"], ["two", "three"]],
  );
});

test("a field renamed to a number is named by its text", () => {
  const root = rootOf("database: d\nnodes: {table: t, transform: {rename: {a: 42, b: c}}}");
  assert.deepEqual(root.transform.rename, { a: "42", b: "c" });
});

test("variables are filled in at the top of a document only", () => {
  const text = `
database: $DB
index: "\${DB}-\${SUFFIX}"
pipeline: $$5-$DB
nodes: {table: $DB}
`;
  const [document] = parse(text, { DB: "books", SUFFIX: "v1" }).documents;
  assert.equal(document?.database, "books");
  assert.equal(document?.index, "books-v1");
  assert.equal(document?.pipeline, "$5-books");
  assert.equal(document?.root.table, "$DB");
});

test("settings and mappings are handed on as they are", () => {
  const [document] = parse(`
database: d
setting: {number_of_shards: 3, analysis: {filter: [a, {b: null}]}}
mapping: {name: {type: keyword}}
mappings: {dynamic: strict}
nodes: {table: t, schema: s, primary_key: [id], base_tables: [a, other.b]}
`).documents;
  assert.deepEqual(document?.setting, { number_of_shards: 3, analysis: { filter: ["a", { b: null }] } });
  assert.deepEqual(document?.mapping, { name: { type: "keyword" } });
  assert.deepEqual(document?.mappings, { dynamic: "strict" });
  assert.deepEqual(document?.root.primaryKey, ["id"]);
  assert.deepEqual(document?.root.baseTables, [
    { schema: "s", table: "a" },
    { schema: "other", table: "b" },
  ]);
});

test("the examples of docs/schema.md are valid", () => {
  const manual = readFileSync(new URL("../../docs/schema.md", import.meta.url), "utf8");
  const [first, ...others] = [...manual.matchAll(/```yaml\n(.*?)```/gs)].map((match) => match[1] ?? "");
  const [document] = parse(first ?? "").documents;
  assert.deepEqual(document?.root.children.map(({ label }) => label), ["publisher", "authors"]);

  const indent = (text: string) => text.replace(/^/gm, "      ");
  const child = "table: c\n      columns: [a]\n";
  const link = "      relationship: {variant: object, type: one_to_many}\n";
  for (const example of others) {
    const needsLink = example.startsWith("relationship:") ? "" : link;
    const own = example.startsWith("columns:") ? "table: c\n" : child;
    parse(
      `database: d\nnodes:\n  table: t\n  children:\n    - ${own}${needsLink}${indent(example).trimEnd()}\n`,
    );
  }
});
