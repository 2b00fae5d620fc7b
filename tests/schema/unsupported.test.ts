import assert from "node:assert/strict";
import { test } from "node:test";
import { errorOf, parse, problemsOf } from "./support.ts";

const TABLE: readonly { name: string; text: string; problems: readonly string[] }[] = [
  {
    name: "plugins and routing",
    text: "database: d\nplugins: [Hero]\nrouting: a\nnodes: {table: t}\n",
    problems: [
      "s.yaml:2:1: plugins: plugins is not carried out by this version",
      "s.yaml:3:1: routing: routing is not carried out by this version",
    ],
  },
  {
    name: "replace and concat, also below the root",
    text: `
database: d
nodes:
  table: t
  label: null
  transform:
    replace: {a: {b: c}}
  children:
    - table: c
      relationship: {type: one_to_one, variant: object}
      transform:
        concat: {columns: [a], destination: b}
`,
    problems: [
      "s.yaml:7:5: nodes.transform.replace: transform.replace is not carried out by this version",
      "s.yaml:12:9: nodes.children[0].transform.concat: transform.concat is not carried out by this version",
    ],
  },
  {
    name: "rename and mapping that reach into a child or a JSON column, and the rename of a child's label",
    text: `
database: d
nodes:
  table: t
  transform:
    rename:
      own: mine
      doc: {a: b}
      c: d
    mapping:
      mine: {type: object, properties: {x: {type: text}}}
      doc:
        a: {type: keyword}
  children:
    - {table: c, relationship: {type: one_to_one, variant: object}}
`,
    problems: [
      "s.yaml:8:7: nodes.transform.rename.doc: a rename that reaches into a child or a JSON column " +
      "is not carried out by this version",
      "s.yaml:9:7: nodes.transform.rename.c: a rename that reaches into a child or a JSON column " +
      "is not carried out by this version",
      "s.yaml:12:7: nodes.transform.mapping.doc: a mapping that reaches into a child or a JSON column " +
      "is not carried out by this version",
    ],
  },
];

for (const { name, text, problems } of TABLE) {
  test(`refused by name: ${name}`, () => {
    const error = errorOf(text);
    assert.equal(error.code, "SCHEMA_UNSUPPORTED");
    assert.deepEqual(error.message.split("\n"), problems);
  });
}

test("what is empty asks for nothing", () => {
  parse(`
database: d
plugins: []
nodes:
  table: t
  base_tables: []
  transform: {rename: {}, replace: {}, concat: [], mapping: {}}
`);
});

test("what is wrong comes before what is not carried out", () => {
  assert.deepEqual(problemsOf("database: d\nplugins: [Hero]\nnodes: {}\n"), [
    "s.yaml:3:8: nodes: `table` is missing",
  ]);
});
