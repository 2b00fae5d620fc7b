import assert from "node:assert/strict";
import { test } from "node:test";
import { indexNameFault } from "../../src/schema/index_name.ts";

for (const name of ["book", "book-v1_2", "a.b", "0", "bücher", "x".repeat(200)]) {
  test(`${name.slice(0, 20)} is a name for an index`, () => assert.equal(indexNameFault(name), null));
}

const FAULTS: readonly [string, string][] = [
  ["", "must not be empty"],
  [".", "must not be . or .."],
  ["..", "must not be . or .."],
  ["-a", "must not start with -"],
  ["_a", "must not start with _"],
  ["+a", "must not start with +"],
  ["a b", "must not contain blanks"],
  ["Book", 'must be lower case ("book")'],
  ["x".repeat(201), "must not be longer than 200 bytes"],
  ["ü".repeat(101), "must not be longer than 200 bytes"],
  ...["\\", "/", "*", "?", '"', "<", ">", "|", ",", "#", ":"].map((sign): [string, string] => [
    `a${sign}b`,
    `must not contain ${sign}`,
  ]),
];

for (const [name, fault] of FAULTS) {
  test(`"${name.slice(0, 20)}" is none: it ${fault}`, () => assert.equal(indexNameFault(name), fault));
}
