import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PgsyncError } from "../../src/errors/error.ts";
import { parseColumn } from "../../src/schema/column_path.ts";

const key = (value: string) => ({ kind: "key", value });
const index = (value: number) => ({ kind: "index", value });

const VALID = [
  { text: "title", column: "title", steps: [], asText: false, field: "title", operator: null },
  { text: "my column", column: "my column", steps: [], asText: false, field: "my column", operator: null },
  { text: "a#b-c", column: "a#b-c", steps: [], asText: false, field: "a#b-c", operator: null },
  {
    text: "doc->a->0",
    column: "doc",
    steps: [key("a"), index(0)],
    asText: false,
    field: "doc_a_0",
    operator: "->",
  },
  {
    text: "j->k->m->0",
    column: "j",
    steps: [key("k"), key("m"), index(0)],
    asText: false,
    field: "j_k_m_0",
    operator: "->",
  },
  { text: "doc->>a", column: "doc", steps: [key("a")], asText: true, field: "doc_a", operator: "->" },
  {
    text: "doc->a->>b",
    column: "doc",
    steps: [key("a"), key("b")],
    asText: true,
    field: "doc_a_b",
    operator: "->",
  },
  { text: "doc->-1", column: "doc", steps: [key("-1")], asText: false, field: "doc_-1", operator: "->" },
  {
    text: "my doc->k",
    column: "my doc",
    steps: [key("k")],
    asText: false,
    field: "my doc_k",
    operator: "->",
  },
  { text: "doc->a b", column: "doc", steps: [key("a b")], asText: false, field: "doc_a b", operator: "->" },
  {
    text: "j#>{k,m}",
    column: "j",
    steps: [key("k"), key("m")],
    asText: false,
    field: "j_k,m",
    operator: "#>",
  },
  {
    text: "j#>>{k,0}",
    column: "j",
    steps: [key("k"), index(0)],
    asText: true,
    field: "j_k,0",
    operator: "#>",
  },
  { text: `j#>{"a,b"}`, column: "j", steps: [key("a,b")], asText: false, field: `j_"a,b"`, operator: "#>" },
  {
    text: `j#>{"a\\"b", c}`,
    column: "j",
    steps: [key(`a"b`), key("c")],
    asText: false,
    field: `j_"a\\"b", c`,
    operator: "#>",
  },
] as const;

for (const expected of VALID) {
  test(`${expected.text} is column ${expected.column}, field ${expected.field}`, () => {
    assert.deepEqual(parseColumn(expected.text), expected);
  });
}

const INVALID = [
  ["", "a column must not be empty"],
  ["  ", "a column must not be empty"],
  ["->a", `"->a" names no column before ->`],
  ["doc->", `"doc->" has no key after ->`],
  ["doc->->a", `"doc->->a" has no key after ->`],
  ["doc -> a", `"doc -> a" has blanks beside ->: remove them`],
  ["doc->a ", `"doc->a " has blanks beside ->: remove them`],
  ["doc->'a'", `"doc->'a'" has a key in quotes: write ->a`],
  ["doc->>a->b", `"doc->>a->b" goes on after ->>, which gives text: only the last step may be ->>`],
  ["doc->a#>{b}", `"doc->a#>{b}" mixes -> with #>: use one of them`],
  ["doc#>a", `"doc#>a" needs a list of keys in braces after #>, as #>{a,b}`],
  ["doc#>{}", `"doc#>{}" does not have plain keys, separated by commas, in its braces`],
  ["doc#>{a,}", `"doc#>{a,}" does not have plain keys, separated by commas, in its braces`],
  ["doc#>{a,{b}}", `"doc#>{a,{b}}" does not have plain keys, separated by commas, in its braces`],
  ["doc#>{a}->b", `"doc#>{a}->b" needs a list of keys in braces after #>, as #>{a,b}`],
  ["doc->99999999999", `"doc->99999999999" has a list position beyond 2147483647`],
] as const;

for (const [text, message] of INVALID) {
  test(`${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parseColumn(text), (error) => {
      assert.ok(error instanceof PgsyncError);
      assert.equal(error.code, "SCHEMA_INVALID");
      assert.equal(error.message, message);
      return true;
    });
  });
}

const name = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_ -]{0,8}[A-Za-z0-9_]$/);
const step = fc.oneof(name, fc.nat().map(String), fc.constant("-1"));

test("what is printed with arrows is parsed into the same steps", () => {
  fc.assert(
    fc.property(
      name,
      fc.array(step, { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      (column, steps, asText) => {
        const operators = steps.map((_, at) => asText && at === steps.length - 1 ? "->>" : "->");
        const parsed = parseColumn(column + steps.map((text, at) => `${operators[at]}${text}`).join(""));
        assert.equal(parsed.column, column);
        assert.equal(parsed.asText, asText);
        assert.deepEqual(parsed.steps.map(({ value }) => String(value)), steps);
        assert.equal(parsed.field, [column, ...steps].join("_"));
      },
    ),
  );
});

test("any keys survive the list form, quoted as PostgreSQL quotes the elements of an array", () => {
  const anyKey = fc.string({ minLength: 1, unit: "binary" });
  fc.assert(fc.property(name, fc.array(anyKey, { minLength: 1, maxLength: 5 }), (column, keys) => {
    const list = keys.map((text) => `"${text.replace(/[\\"]/g, "\\$&")}"`).join(",");
    fc.pre(keys.every((text) => !/^\d{10,}$/.test(text)));
    const parsed = parseColumn(`${column}#>{${list}}`);
    const expected = keys.map((text) => /^\d+$/.test(text) ? Number(text) : text);
    assert.deepEqual(parsed.steps.map(({ value }) => value), expected);
  }));
});

test("any text is a column or is refused with SCHEMA_INVALID", () => {
  const pieces = fc.constantFrom("->", "->>", "#>", "#>>", "{", "}", ",", "a", "0", " ", '"', "'", "\\");
  const anyText = fc.oneof(fc.string(), fc.array(pieces, { maxLength: 10 }).map((list) => list.join("")));
  fc.assert(
    fc.property(anyText, (text) => {
      try {
        assert.equal(parseColumn(text).text, text);
      } catch (error) {
        assert.ok(error instanceof PgsyncError && error.code === "SCHEMA_INVALID", String(error));
      }
    }),
    { numRuns: 500 },
  );
});
