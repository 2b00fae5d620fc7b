import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSchema } from "../../src/schema/parse.ts";
import { errorOf, problemsOf } from "./support.ts";

interface Case {
  readonly name: string;
  readonly text: string;
  readonly problems: readonly string[];
}

const CHILD = `database: d
nodes:
  table: t
  children:
    - table: c
`;
const RELATIONSHIP = `${CHILD}      relationship:\n`;

const KEYS: readonly Case[] = [
  {
    name: "an unknown key of a document, with the nearest that exists",
    text: "database: d\nnodes: {table: t}\nsettings: {}\n",
    problems: [
      's.yaml:3:1: settings: unknown key "settings"; did you mean "setting"? ' +
      "(allowed: database, index, nodes, plugins, pipeline, routing, setting, mapping, mappings)",
    ],
  },
  {
    name: "an unknown key of a node that is near none",
    text: "[{database: d, nodes: {table: t, zzz: 1}}]",
    problems: [
      's.yaml:1:34: [0].nodes.zzz: unknown key "zzz" ' +
      "(allowed: table, schema, columns, label, primary_key, base_tables, transform, children, relationship)",
    ],
  },
  {
    name: "an unknown key of a relationship",
    text: `${RELATIONSHIP}        type: one_to_one\n        variant: object\n        throughTables: [x]\n`,
    problems: [
      's.yaml:9:9: nodes.children[0].relationship.throughTables: unknown key "throughTables"; ' +
      'did you mean "through_tables"? (allowed: variant, type, through_tables, foreign_key)',
    ],
  },
  {
    name: "an unknown key of a transform, and of concat in a list",
    text:
      "database: d\nnodes:\n  table: t\n  transform:\n    renames: {}\n    concat:\n    - {columns: [a], dest: b}\n",
    problems: [
      's.yaml:5:5: nodes.transform.renames: unknown key "renames"; did you mean "rename"? ' +
      "(allowed: rename, replace, concat, mapping, move)",
      "s.yaml:7:7: nodes.transform.concat[0]: `destination` is missing",
      's.yaml:7:22: nodes.transform.concat[0].dest: unknown key "dest" (allowed: columns, destination, delimiter)',
    ],
  },
  {
    name: "a key that stands twice, also in JSON",
    text: '{"database": "d",\n "nodes": {"table": "t",\n  "table": "u"}}',
    problems: ['s.yaml:3:3: nodes.table: the key "table" stands twice'],
  },
  {
    name: "no database, no nodes, no table",
    text: "- nodes: {}\n- {index: i}\n",
    problems: [
      "s.yaml:1:3: [0]: `database` is missing",
      "s.yaml:1:10: [0].nodes: `table` is missing",
      "s.yaml:2:3: [1]: `database` is missing",
      "s.yaml:2:3: [1]: `nodes` is missing",
    ],
  },
];

const TYPES: readonly Case[] = [
  {
    name: "a number where text belongs",
    text: "database: 5\nnodes: {table: true, label: [a]}\n",
    problems: [
      "s.yaml:1:11: database: must be text, not the number 5: put it in quotes",
      "s.yaml:2:16: nodes.table: must be text, not true: put it in quotes",
      "s.yaml:2:29: nodes.label: must be text, not a list",
    ],
  },
  {
    name: "text where a list or an object belongs",
    text: "database: d\nsetting: a\nnodes:\n  table: t\n  columns: id\n  children: {}\n",
    problems: [
      's.yaml:2:10: setting: must be an object, not the text "a"',
      's.yaml:5:12: nodes.columns: must be a list, not the text "id"',
      "s.yaml:6:13: nodes.children: must be a list, not an object",
    ],
  },
  {
    name: "empty texts",
    text: `database: ""\nnodes: {table: ""}\n`,
    problems: ["s.yaml:1:11: database: must not be empty", "s.yaml:2:16: nodes.table: must not be empty"],
  },
  {
    name: "the list form of PGSync 1",
    text: "- database: d\n  nodes:\n    - table: book\n      columns: [id]\n",
    problems: [
      's.yaml:3:5: [0].nodes: is a list, the form of PGSync 1: write it as an object, {"table": "book", …}',
    ],
  },
  {
    name: "transforms of other forms",
    text:
      "database: d\nnodes:\n  table: t\n  transform:\n    rename: {a: [b]}\n    replace: {a: b}\n    concat: x\n    mapping: {a: text}\n",
    problems: [
      "s.yaml:5:17: nodes.transform.rename.a: must be the field's new name (or an object of renames, for a child)",
      's.yaml:6:18: nodes.transform.replace.a: must be an object, not the text "b"',
      "s.yaml:7:13: nodes.transform.concat: must be an object with columns and destination, or a list of them",
      's.yaml:8:18: nodes.transform.mapping.a: must be an object, not the text "text"',
    ],
  },
  {
    name: "a file that is no list of documents",
    text: "- database: d\n  nodes: {table: t}\n- book\n",
    problems: [
      's.yaml:3:3: [1]: must be a document, an object with `database` and `nodes`, not the text "book"',
    ],
  },
  {
    name: "plain text",
    text: "hello",
    problems: ['s.yaml:1:1: must be a document, an object with `database` and `nodes`, not the text "hello"'],
  },
  {
    name: "an empty list",
    text: "\n []",
    problems: ["s.yaml:2:2: is empty: it needs a document, an object with `database` and `nodes`"],
  },
  {
    name: "an empty file",
    text: "# nothing yet\n",
    problems: ["s.yaml:1:1: is empty: it needs a document, an object with `database` and `nodes`"],
  },
];

const RELATIONSHIPS: readonly Case[] = [
  {
    name: "a child without a relationship",
    text: CHILD,
    problems: [
      "s.yaml:5:7: nodes.children[0]: `relationship` is missing: " +
      "add `relationship: {variant: object, type: one_to_many}`",
    ],
  },
  {
    name: "an empty relationship",
    text: RELATIONSHIP,
    problems: [
      "s.yaml:6:20: nodes.children[0].relationship: `relationship` is missing: " +
      "add `relationship: {variant: object, type: one_to_many}`",
    ],
  },
  {
    name: "a relationship without type and variant",
    text: `${RELATIONSHIP}        through_tables: []\n`,
    problems: [
      "s.yaml:7:9: nodes.children[0].relationship: `variant` is missing: " +
      "add `variant: object` (or scalar: the first column's value alone)",
      "s.yaml:7:9: nodes.children[0].relationship: `type` is missing: " +
      "add `type: one_to_many` (a list) or `type: one_to_one`",
    ],
  },
  {
    name: "misspelt type and variant",
    text: `${RELATIONSHIP}        type: ONE_TO_MANY\n        variant: list\n`,
    problems: [
      's.yaml:7:15: nodes.children[0].relationship.type: must be one_to_one or one_to_many, not the text "ONE_TO_MANY"; ' +
      'did you mean "one_to_many"?',
      's.yaml:8:18: nodes.children[0].relationship.variant: must be object or scalar, not the text "list"',
    ],
  },
  {
    name: "two link tables, and a name of three parts",
    text:
      `${RELATIONSHIP}        type: one_to_many\n        variant: object\n        through_tables: [a, b.c.d]\n`,
    problems: [
      "s.yaml:9:25: nodes.children[0].relationship.through_tables: names more than one link table: " +
      "draw the way through the others as nodes of their own",
      's.yaml:9:29: nodes.children[0].relationship.through_tables[1]: must be table or schema.table, not "b.c.d"',
    ],
  },
  {
    name: "a foreign key with one side",
    text:
      `${RELATIONSHIP}        type: one_to_many\n        variant: object\n        foreign_key: {parent: [a], childs: [b]}\n`,
    problems: [
      "s.yaml:9:22: nodes.children[0].relationship.foreign_key: `child` is missing",
      's.yaml:9:36: nodes.children[0].relationship.foreign_key.childs: unknown key "childs"; did you mean "child"? ' +
      "(allowed: parent, child)",
    ],
  },
  {
    name: "a foreign key whose sides have different lengths",
    text:
      `${RELATIONSHIP}        type: one_to_many\n        variant: object\n        foreign_key: {parent: {t: [a, b]}, child: c}\n`,
    problems: [
      "s.yaml:9:22: nodes.children[0].relationship.foreign_key: " +
      "pairs columns one by one, but parent has 2 and child has 1",
    ],
  },
  {
    name: "a foreign key with two tables on a side, or none",
    text:
      `${RELATIONSHIP}        type: one_to_many\n        variant: object\n        foreign_key: {parent: {t: [a], u: [b]}, child: 5}\n`,
    problems: [
      "s.yaml:9:31: nodes.children[0].relationship.foreign_key.parent: must name one table's columns, not those of 2",
      "s.yaml:9:56: nodes.children[0].relationship.foreign_key.child: must be a list of columns, one column, or {table: [columns]}",
    ],
  },
  {
    name: "an empty foreign key",
    text:
      `${RELATIONSHIP}        type: one_to_many\n        variant: object\n        foreign_key: {parent: [], child: []}\n`,
    problems: [
      "s.yaml:9:31: nodes.children[0].relationship.foreign_key.parent: must not be empty",
      "s.yaml:9:42: nodes.children[0].relationship.foreign_key.child: must not be empty",
    ],
  },
  {
    name: "transforms of fields on a scalar",
    text:
      `${RELATIONSHIP}        type: one_to_many\n        variant: scalar\n      transform:\n        rename: {a: b}\n        mapping: {b: {type: text}}\n`,
    problems: [
      "s.yaml:10:9: nodes.children[0].transform.rename: makes no sense on a scalar, which has no fields: remove it",
      "s.yaml:11:9: nodes.children[0].transform.mapping: makes no sense on a scalar, which has no fields: " +
      "write it at the parent, under this node's label",
    ],
  },
];

const INSIDE_STRINGS: readonly Case[] = [
  {
    name: "JSON paths that cannot be read",
    text: "database: d\nnodes:\n  table: t\n  columns:\n    - id\n    - doc -> a\n    - 'doc#>a'\n",
    problems: [
      's.yaml:6:7: nodes.columns[1]: "doc -> a" has blanks beside ->: remove them',
      's.yaml:7:7: nodes.columns[2]: "doc#>a" needs a list of keys in braces after #>, as #>{a,b}',
    ],
  },
  {
    name: "names of indices",
    text:
      "- {database: d, index: Books, nodes: {table: t}}\n- {database: Shop, nodes: {table: t}}\n- {database: d, index: a/b, nodes: {table: t}}\n",
    problems: [
      's.yaml:1:24: [0].index: the name of an index must be lower case ("books")',
      's.yaml:2:14: [1].database: serves as the name of the index too, which must be lower case ("shop"): add `index`',
      "s.yaml:3:24: [2].index: the name of an index must not contain /",
    ],
  },
  {
    name: "types and parameters of fields",
    text:
      "database: d\nnodes:\n  table: t\n  transform:\n    mapping:\n      a: {type: keywrod}\n      b: {analyzer: x}\n      c: {type: text, analyser: x, own_parameter: y}\n      d: {type: 5}\n",
    problems: [
      's.yaml:6:17: nodes.transform.mapping.a.type: "keywrod" is no type of Elasticsearch or OpenSearch; did you mean "keyword"?',
      "s.yaml:7:10: nodes.transform.mapping.b: `type` is missing: add the Elasticsearch type of the field",
      's.yaml:8:23: nodes.transform.mapping.c.analyser: unknown parameter "analyser"; did you mean "analyzer"?',
      "s.yaml:9:17: nodes.transform.mapping.d.type: must be an Elasticsearch type, not the number 5",
    ],
  },
  {
    name: "the old name of a renamed field in mapping",
    text:
      "database: d\nnodes:\n  table: t\n  transform:\n    rename: {isbn: id}\n    mapping: {isbn: {type: keyword}}\n",
    problems: [
      's.yaml:6:15: nodes.transform.mapping.isbn: "isbn" is renamed to "id": write the mapping under "id"',
    ],
  },
];

const SYNTAX: readonly Case[] = [
  {
    name: "JSON without a colon",
    text: '{\n  "database" "d"\n}',
    problems: ["s.yaml:2:14: missing , or : between object items"],
  },
  {
    name: "JSON that ends too soon",
    text: '[{"database": "d"\n',
    problems: ["s.yaml:2:1: object must end with a }", "s.yaml:2:1: list must end with a ]"],
  },
  {
    name: "an escape that JSON does not have",
    text: '{"database": "a\\q"}',
    problems: ["s.yaml:1:16: invalid escape sequence \\q"],
  },
  {
    name: "a tab as indentation",
    text: "database: d\nnodes:\n\ttable: t\n",
    problems: ["s.yaml:3:1: tabs are not allowed as indentation: use blanks"],
  },
  {
    name: "an alias without anchor",
    text: "database: d\nnodes: *root\n",
    problems: ["s.yaml:2:8: nodes: the alias *root has no anchor &root before it"],
  },
  {
    name: "an alias within its own anchor",
    text: "database: d\nnodes: &n\n  table: t\n  children: [*n]\n",
    problems: ["s.yaml:4:14: nodes.children[0]: the alias *n contains itself"],
  },
  {
    name: "numbers that JSON does not have",
    text: "database: d\nnodes: {table: t}\nsetting: {a: .nan, b: -.inf}\n",
    problems: [
      "s.yaml:3:14: setting.a: must be a value that JSON has, not NaN",
      "s.yaml:3:23: setting.b: must be a value that JSON has, not -Infinity",
    ],
  },
  {
    name: "an object as key, and a key that JavaScript gives a meaning",
    text: "database: d\nnodes: {table: t}\nsetting:\n  __proto__: {a: 1}\n",
    problems: ['s.yaml:4:3: setting: must not have a key "__proto__"'],
  },
];

for (const { name, text, problems } of [...KEYS, ...TYPES, ...RELATIONSHIPS, ...INSIDE_STRINGS, ...SYNTAX]) {
  test(`refused: ${name}`, () => {
    const error = errorOf(text);
    assert.equal(error.code, "SCHEMA_INVALID");
    assert.deepEqual(error.message.split("\n"), problems);
  });
}

test("all problems of all documents are reported together, in order of place, and as data", () => {
  const error = errorOf(
    "- {database: 5, nodes: {table: t, columns: [a->]}}\n- {datbase: d, nodes: {table: t}}\n",
  );
  assert.deepEqual(
    error.problems.map(({ place, message }) => [place.line, place.column, place.path, message.slice(0, 20)]),
    [
      [1, 14, "[0].database", "must be text, not th"],
      [1, 45, "[0].nodes.columns[0]", '"a->" has no key aft'],
      [2, 3, "[1]", "`database` is missin"],
      [2, 4, "[1].datbase", 'unknown key "datbase'],
    ],
  );
});

test("in a stream, paths count its documents", () => {
  const text = "database: d\nnodes: {table: t}\n---\ndatabase: e\nnodes: {tabel: t}\n";
  assert.deepEqual(problemsOf(text).map((line) => line.slice(0, 30)), [
    "s.yaml:5:8: [1].nodes: `table`",
    "s.yaml:5:9: [1].nodes.tabel: u",
  ]);
});

test("what comes through an alias is reported where it is written", () => {
  const text = "database: d\nsetting: &s {a: 1}\nmapping: *s\nmappings: {x: *s}\nnodes: *s\n";
  assert.deepEqual(problemsOf(text).map((line) => line.slice(0, 28)), [
    "s.yaml:2:14: nodes.a: unknow",
    "s.yaml:5:8: nodes: `table` i",
  ]);
});

test("the message lists fifty problems and counts the rest", () => {
  const keys = Array.from({ length: 60 }, (_, index) => `unknown${index}: 1\n`).join("");
  const lines = problemsOf(`database: d\nnodes: {table: t}\n${keys}`);
  assert.equal(lines.length, 51);
  assert.equal(lines.at(-1), "… and 10 more");
});

test("an alias bomb is refused at once", () => {
  const levels = Array.from({ length: 12 }, (_, level) => {
    const item = level === 0 ? "lol" : `*l${level - 1}`;
    return `l${level}: &l${level} [${Array(10).fill(item).join(", ")}]\n`;
  }).join("");
  const [line] = problemsOf(`${levels}database: d\nnodes: {table: t}\n`);
  assert.match(
    line ?? "",
    /^s\.yaml:\d+:\d+: l\d.*: the aliases stand for more than 100,000 values \(an alias bomb\)$/,
  );
});

test("many aliases of one large part are refused too", () => {
  const part = `[${Array(20_000).fill("1").join(",")}]`;
  const aliases = Array(200).fill("*p").join(",");
  const [line] = problemsOf(`database: d\nsetting: {p: &p ${part}, q: [${aliases}]}\nnodes: {table: t}\n`);
  assert.match(
    line ?? "",
    /^s\.yaml:2:\d+: setting\.q\[\d+\]: the aliases stand for more than 100,000 values/,
  );
});

test("a file of brackets is refused, not a stack overflow", () => {
  for (const depth of [1_000, 140_000]) {
    const [line] = problemsOf(
      `database: d\nnodes: {table: t}\nsetting: {a: ${"[".repeat(depth)}${"]".repeat(depth)}}`,
    );
    assert.match(line ?? "", /is nested too deeply$/);
  }
});

test("10 MB of values, which would take gigabytes, are refused before they are parsed", () => {
  const size = 10 * 1024 * 1024 - 100;
  const texts = [
    `[${"1,".repeat(size / 2)}1]`,
    "[".repeat(size),
    `a: [&a 1${",*a".repeat(size / 3)}]`,
    "---\na\n".repeat(size / 6),
    "a:\r".repeat(size / 3),
  ];
  for (const text of texts) {
    const started = performance.now();
    assert.throws(() => parseSchema(text, "s.yaml", {}), {
      code: "SCHEMA_INVALID",
      message: "s.yaml has more than 300,000 lines, commas, colons and brackets, which no schema file has.",
    });
    assert.ok(performance.now() - started < 5_000);
  }
  // A long text is one value.
  const [line] = problemsOf(`database: ["${"x".repeat(size - 100)}"]\nnodes: {table: t}\n`);
  assert.match(line ?? "", /database: must be/);
});

test("an object with very many keys is checked in linear time", () => {
  const keys = Array.from({ length: 50_000 }, (_, index) => `k${index}: 1\n`).join("");
  assert.equal(errorOf(`${keys}k0: 2\ndatabase: d\nnodes: {table: t}\n`).problems.length, 1);
});
