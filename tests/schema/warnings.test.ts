import assert from "node:assert/strict";
import { test } from "node:test";
import { parse, rootOf, warningsOf } from "./support.ts";

/** What PGSync accepts without effect is accepted here too, and said. */
const TABLE: readonly { name: string; text: string; warnings: string[] }[] = [
  {
    name: "a second document with the same database and index",
    text: "- database: d\n  nodes: {table: t}\n- database: d\n  index: d\n  nodes: {table: u}\n",
    warnings: ['3:3: a document before it has the database "d" and the index "d" too: this one is ignored'],
  },
  {
    name: "an unknown variable",
    text: "database: ${DB}\nindex: i\nnodes: {table: t}\n",
    warnings: ["1:11: the environment has no variable DB: it stays as it is written"],
  },
  {
    name: "columns that are no text",
    text: "database: d\nnodes:\n  table: t\n  columns: [a, 5, null]\n",
    warnings: ["4:16: is no text and is ignored", "4:19: is no text and is ignored"],
  },
  {
    name: "a column twice, and two columns of one field",
    text: "database: d\nnodes:\n  table: t\n  columns: [a, a, b_c, b->c]\n",
    warnings: ['4:16: names "a" again', '4:24: gives the field "b_c" as "b_c" does: the last wins'],
  },
  {
    name: "two siblings with one label",
    text: `
database: d
nodes:
  table: t
  children:
    - {table: a, label: x, relationship: {type: one_to_one, variant: object}}
    - {table: b, label: x, relationship: {type: one_to_one, variant: object}}
`,
    warnings: ['6:7: has the label "x" of a later sibling and is ignored: give it another label'],
  },
  {
    name: "two equal siblings",
    text: `
database: d
nodes:
  table: t
  children:
    - {table: a, relationship: {type: one_to_one, variant: object}}
    - {relationship: {variant: object, type: one_to_one}, table: a}
`,
    warnings: ["6:7: stands twice among its siblings: once is enough"],
  },
  {
    name: "transforms below the label null",
    text: `
database: d
nodes:
  table: t
  children:
    - table: a
      label: null
      relationship: {type: one_to_one, variant: object}
      transform: {rename: {a: b}, concat: {columns: [a], destination: c}}
`,
    warnings: ["9:7: does not apply, because the label is null: remove `label`, or give it a name"],
  },
  {
    name: "a relationship at the root",
    text: "database: d\nnodes:\n  table: t\n  relationship: {type: one_to_one, variant: object}\n",
    warnings: ["4:3: has no effect at the root, which has no parent"],
  },
  {
    name: "move",
    text: "database: d\nnodes:\n  table: t\n  transform:\n    move: {a: b}\n",
    warnings: ["5:5: has no effect, neither here nor in PGSync"],
  },
  {
    name: "a foreign key beside a link table",
    text: `
database: d
nodes:
  table: t
  children:
    - table: a
      relationship:
        type: one_to_many
        variant: object
        through_tables: [l]
        foreign_key: {parent: a, child: b}
`,
    warnings: [
      "11:9: has no effect beside through_tables: the link table's own foreign keys count",
    ],
  },
];

for (const { name, text, warnings } of TABLE) {
  test(`a warning: ${name}`, () => assert.deepEqual(warningsOf(text), warnings));
}

test("of two documents with the same database and index the first counts", () => {
  const { documents } = parse("- database: d\n  nodes: {table: t}\n- database: d\n  nodes: {table: u}\n");
  assert.deepEqual(documents.map(({ root }) => root.table), ["t"]);
});

test("of two siblings with one label the last counts", () => {
  const root = rootOf(`
database: d
nodes:
  table: t
  children:
    - {table: a, label: x, relationship: {type: one_to_one, variant: object}}
    - {table: b, label: x, relationship: {type: one_to_one, variant: object}}
    - {table: x, label: y, relationship: {type: one_to_one, variant: object}}
`);
  assert.deepEqual(root.children.map(({ table, label }) => [table, label]), [["b", "x"], ["x", "y"]]);
});

test("the label null is the table's name, and switches a child's transforms off but not its mapping", () => {
  const root = rootOf(`
database: d
nodes:
  table: t
  label: null
  transform: {rename: {a: b}}
  children:
    - table: c
      label: null
      relationship: {type: one_to_one, variant: object}
      transform: {rename: {a: b}, mapping: {b: {type: keyword}}}
`);
  assert.equal(root.label, "t");
  assert.deepEqual(root.transform.rename, { a: "b" });
  const [child] = root.children;
  assert.equal(child?.label, "c");
  assert.deepEqual(child?.transform.rename, {});
  assert.deepEqual(child?.transform.mapping, { b: { type: "keyword" } });
});

test("columns that are ignored or stand twice are left out", () => {
  const root = rootOf("database: d\nnodes: {table: t, columns: [a, 5, b_c, a, b->c]}");
  assert.deepEqual(root.columns, ["a", "b->c"]);
});
