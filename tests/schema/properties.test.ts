import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import * as yaml from "yaml";
import { PgsyncError } from "../../src/errors/error.ts";
import { parseSchema } from "../../src/schema/parse.ts";
import type { NodeSchema, QualifiedName, SchemaFile } from "../../src/schema/tree.ts";

/** A name as PostgreSQL may have it: quoted, so nearly anything. */
const name = fc.oneof(
  fc.stringMatching(/^[a-z_]{1,8}$/),
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 }),
  fc.constantFrom("null", "true", "5", "~", "- a", "a: b", "#", "'", '"', "toString", "constructor"),
);
const plainColumn = name.filter((text) => text.trim() !== "" && !/->|#>/.test(text));
const linkTable = fc.stringMatching(/^[a-z_]{1,6}(\.[a-z_]{1,6})?$/);
const indexName = fc.stringMatching(/^[a-z0-9][a-z0-9_.-]{0,10}$/);
const free = fc.dictionary(name.filter((key) => key !== "__proto__"), fc.jsonValue({ maxDepth: 2 }), {
  maxKeys: 3,
})
  .map((value): unknown =>
    JSON.parse(JSON.stringify(value), (key, part) => key === "__proto__" ? undefined : part)
  );

const relationship = fc.record({
  type: fc.constantFrom("one_to_one", "one_to_many"),
  variant: fc.constantFrom("object", "scalar"),
}).chain((base) =>
  fc.oneof(
    fc.constant(base),
    linkTable.map((table) => ({ ...base, through_tables: [table] })),
    fc.tuple(plainColumn, plainColumn).map(([parent, child]) => ({
      ...base,
      foreign_key: { parent: [parent], child: [child] },
    })),
  )
);

const own = fc.record({
  table: name,
  schema: name,
  columns: fc.uniqueArray(plainColumn, { maxLength: 4 }),
}, { requiredKeys: ["table"] });

const { child } = fc.letrec((tie) => ({
  child: fc.record({ own, relationship, children: tie("children") })
    .map(({ own, relationship, children }) => ({ ...own, relationship, children })),
  children: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constant([]),
    fc.uniqueArray(tie("child"), {
      maxLength: 3,
      selector: (node) => JSON.stringify(node).split(",")[0],
    }),
  ),
}));

const document = fc.record({
  database: indexName,
  index: indexName,
  nodes: fc.tuple(own, fc.array(child, { maxLength: 3 })).map(([node, children]) => ({ ...node, children })),
  setting: free,
  mappings: free,
  pipeline: indexName,
}, { requiredKeys: ["database", "nodes"] });

/** Writes a tree as a schema file again, every default spelt out. */
function toInput(file: SchemaFile): unknown {
  return file.documents.map((document) => ({
    database: document.database,
    index: document.index,
    nodes: toNode(document.root),
    plugins: document.plugins,
    pipeline: document.pipeline,
    routing: document.routing,
    setting: document.setting,
    mapping: document.mapping,
    mappings: document.mappings,
  }));
}

function toNode(node: NodeSchema): unknown {
  const link = node.relationship;
  return {
    table: node.table,
    schema: node.schema,
    label: node.label,
    columns: node.columns,
    children: node.children.map(toNode),
    relationship: link && {
      type: link.type,
      variant: link.variant,
      through_tables: link.throughTables.map(({ schema, table }: QualifiedName) => `${schema}.${table}`),
      foreign_key: link.foreignKey,
    },
    transform: node.transform,
  };
}

function documentsOf(text: string): unknown {
  const { documents } = parseSchema(text, "f", {});
  return JSON.parse(JSON.stringify(documents, (key, part) => key === "place" ? undefined : part));
}

/** Schema names of link tables must not hold a dot, for `schema.table` is cut at it. */
function hasPlainSchemas(text: string): boolean {
  return !/"through_tables"/.test(text) || !/"schema":"[^"]*\./.test(text);
}

test("every valid tree survives being printed and parsed, as JSON with any indentation and as YAML", () => {
  fc.assert(
    fc.property(
      fc.array(document, { minLength: 1, maxLength: 2 }),
      fc.constantFrom(0, 2, "\t"),
      (input, indent) => {
        const text = JSON.stringify(input);
        fc.pre(hasPlainSchemas(text));
        const first = parseSchema(text, "f", {});
        const expected = documentsOf(text);
        const printed = toInput(first);
        assert.deepEqual(documentsOf(JSON.stringify(printed, null, indent)), expected);
        assert.deepEqual(documentsOf(yaml.stringify(printed)), expected);
      },
    ),
    { numRuns: 150 },
  );
});

const KEYS = ["database", "index", "nodes", "table", "children", "columns", "relationship", "type", "variant"]
  .concat(["through_tables", "foreign_key", "parent", "child", "transform", "rename", "replace", "concat"])
  .concat([
    "mapping",
    "label",
    "schema",
    "primary_key",
    "base_tables",
    "plugins",
    "routing",
    "move",
    "setting",
  ]);

/** JSON in which the format's own keys abound, so that its inner checks are reached. */
const nearlySchema = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    fc.constantFrom<unknown>("one_to_many", "object", "a", "", "doc->a", "x->", 0, 1.5, true, null),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...KEYS), tie("value"), { maxKeys: 6 }),
  ),
})).value;

/** Accepts a text that is parsed and one that is refused as it should be; nothing else. */
function parsesOrRefuses(text: string): void {
  try {
    parseSchema(text, "f", {});
  } catch (error) {
    assert.ok(error instanceof PgsyncError, String(error));
    assert.match(error.code, /^SCHEMA_(INVALID|UNSUPPORTED)$/);
    for (const line of error.message.split("\n")) assert.match(line, /^(f:\d+:\d+: |… and )/);
  }
}

test("any JSON is parsed or refused with places", () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => parsesOrRefuses(JSON.stringify(value))));
  fc.assert(
    fc.property(nearlySchema, (nodes) => parsesOrRefuses(JSON.stringify({ database: "d", nodes }))),
    { numRuns: 500 },
  );
  fc.assert(fc.property(nearlySchema, (value) => parsesOrRefuses(yaml.stringify(value))), { numRuns: 300 });
});

test("any text is parsed or refused with places", () => {
  const pieces = fc.constantFrom(
    "a",
    ": ",
    "- ",
    "\n",
    "  ",
    "{",
    "}",
    "[",
    "]",
    ",",
    '"',
    "'",
    "&a ",
    "*a",
    "!t ",
  )
    .chain((piece) =>
      fc.constantFrom(piece, piece, "---\n", "? ", "| ", "\t", "%", "#", "<<: ", "nodes: ", "\0")
    );
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(pieces, { maxLength: 30 }).map((list) => list.join("")),
  );
  fc.assert(fc.property(text, parsesOrRefuses), { numRuns: 2_000 });
});

test("a schema file cut off anywhere is parsed or refused with places", () => {
  const whole = JSON.stringify([{ database: "d", nodes: { table: "t", columns: ["a->b"] } }], null, 2);
  for (let length = 0; length <= whole.length; length++) parsesOrRefuses(whole.slice(0, length));
});
