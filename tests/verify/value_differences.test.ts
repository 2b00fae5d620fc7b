/** Where two JSON texts differ. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { JsonReader } from "../../src/search/json_reader.ts";
import { valueDifferences } from "../../src/verify/value_differences.ts";

const bytes = (text: string) => Buffer.from(text, "utf8");
const paths = (expected: string, found: string) =>
  valueDifferences(bytes(expected), bytes(found), 100).map(({ path }) => path);

describe("The places where two documents differ", () => {
  const cases:
    readonly (readonly [what: string, expected: string, found: string, paths: readonly string[]])[] = [
      ["a field", '{"a":1,"b":2}', '{"a":1,"b":3}', ["$.b"]],
      ["deep in an array", '{"a":[{"n":"x"},{"n":"y"}]}', '{"a":[{"n":"x"},{"n":"z"}]}', ["$.a[1].n"]],
      ["a field that is not there", '{"a":1,"b":2}', '{"a":1}', ["$.b"]],
      ["a field too many", '{"a":1}', '{"a":1,"c":null}', ["$.c"]],
      ["elements that changed places", '{"a":[1,2,3]}', '{"a":[2,1,3]}', ["$.a[0]", "$.a[1]"]],
      ["an element too many", '{"a":[1]}', '{"a":[1,2]}', ["$.a[1]"]],
      ["a digit beyond 2^53", '{"n":9007199254740993}', '{"n":9007199254740992}', ["$.n"]],
      ["a zero behind the point", '{"n":1.0}', '{"n":1.00}', ["$.n"]],
      ["another kind", '{"n":1}', '{"n":"1"}', ["$.n"]],
      ["null and an object", '{"n":null}', '{"n":{}}', ["$.n"]],
      ["a key that needs quotes", '{"a b":1,"é":1}', '{"a b":2,"é":2}', ['$["a b"]', "$.é"]],
      ["a bracket in a string", '{"a":"]}","b":1}', '{"a":"]}","b":2}', ["$.b"]],
      ["nothing but the order of keys", '{"a":1,"b":[1]}', '{"b":[1],"a":1}', []],
      ["nothing but blanks", '{"a" : [ 1 ,\n2 ]}', '{"a":[1,2]}', []],
      ["nothing but escapes", '{"a":"\\u00e9\\/"}', '{"a":"é/"}', []],
      ["the whole", "[]", "{}", ["$"]],
    ];
  for (const [what, expected, found, wanted] of cases) {
    it(what, () => assert.deepEqual(paths(expected, found), wanted));
  }

  it("are told with both values, shortened", () => {
    const long = "é".repeat(500);
    const [difference] = valueDifferences(bytes(`{"a":"${long}"}`), bytes('{"a":12.50}'), 1);
    assert.equal(difference?.found, "12.50");
    assert.match(difference?.expected ?? "", /^"é{78}…$/);
  });

  it("are no more than asked for", () => {
    assert.equal(valueDifferences(bytes("[1,2,3]"), bytes("[4,5,6]"), 2).length, 2);
  });

  it("are none where a value is written in another way", () => {
    fc.assert(fc.property(fc.jsonValue(), fc.constantFrom(undefined, 1, "\t"), (value, indent) => {
      const reordered = JSON.stringify(reverseKeys(value), null, indent).replaceAll("é", "\\u00e9");
      assert.deepEqual(paths(JSON.stringify(value), reordered), []);
    }));
  });

  it("are some where values differ", () => {
    fc.assert(fc.property(fc.jsonValue(), fc.jsonValue(), (left, right) => {
      // By way of their texts, for -0 is written as 0.
      const equal = canonical(left) === canonical(right);
      assert.equal(paths(JSON.stringify(left), JSON.stringify(right)).length === 0, equal);
    }));
  });
});

describe("A JSON reader", () => {
  it("finds the end of any value", () => {
    fc.assert(fc.property(fc.jsonValue(), fc.constantFrom("", ",1]", " }"), (value, rest) => {
      const text = JSON.stringify(value);
      const { start, end } = new JsonReader(bytes(`  ${text}${rest}`)).skip();
      assert.equal(bytes(`  ${text}${rest}`).subarray(start, end).toString(), text);
    }));
  });

  it("finds the same end where the value was expected, and where another was", () => {
    const objects = fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue());
    fc.assert(fc.property(objects, objects, fc.boolean(), (value, other, known) => {
      const text = JSON.stringify(value);
      const json = bytes(` ${text},"rest":1}`);
      const { start, end } = new JsonReader(json).skipExpected(bytes(JSON.stringify(known ? value : other)));
      assert.equal(json.subarray(start, end).toString(), text);
    }));
  });

  it("goes through objects as JSON.parse does", () => {
    fc.assert(fc.property(fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue()), (object) => {
      const text = bytes(JSON.stringify(object, null, 1));
      const reader = new JsonReader(text);
      const read: Record<string, unknown> = Object.create(null);
      reader.enter();
      for (let key = reader.nextKey(); key !== null; key = reader.nextKey()) {
        const { start, end } = reader.skip();
        read[key] = JSON.parse(text.subarray(start, end).toString());
      }
      assert.equal(canonical(read), canonical(object));
    }));
  });

  for (const text of ["", "{", '{"a"', '{"a":', "[1", '"abc', '{"a":"\\"', "]", '{"a" 1}']) {
    it(`refuses ${text === "" ? "nothing" : text}`, () => {
      assert.throws(() => {
        const reader = new JsonReader(bytes(text));
        if (reader.kind() === "object") {
          reader.enter();
          while (reader.nextKey() !== null) reader.skip();
        } else reader.skip();
      }, SyntaxError);
    });
  }
});

function reverseKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reverseKeys);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).reverse().map(([key, inner]) => [key, reverseKeys(inner)]));
}

/** The text of a value with its keys in order. */
function canonical(value: unknown): string {
  return JSON.stringify(
    value,
    (_key, inner: unknown) =>
      typeof inner === "object" && inner !== null && !Array.isArray(inner)
        ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => a < b ? -1 : 1))
        : inner,
  );
}
