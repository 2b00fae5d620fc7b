import assert from "node:assert/strict";
import { test } from "node:test";
import { substituteVariables } from "../../src/schema/environment.ts";

const ENVIRONMENT = { DB: "books", EMPTY: "", _a1: "x", DOLLAR: "$DB" };

const TABLE: readonly [string, string, string[]][] = [
  ["plain", "plain", []],
  ["$DB", "books", []],
  ["${DB}_v1", "books_v1", []],
  ["$DB_v1", "$DB_v1", ["DB_v1"]],
  ["a-$DB-$_a1", "a-books-x", []],
  ["[$EMPTY]", "[]", []],
  ["$$DB", "$DB", []],
  ["$$$DB", "$books", []],
  ["${OTHER} $OTHER2", "${OTHER} $OTHER2", ["OTHER", "OTHER2"]],
  ["$5 ${} ${5} ${DB $", "$5 ${} ${5} ${DB $", []],
  ["$DOLLAR", "$DB", []],
  ["$constructor", "$constructor", ["constructor"]],
];

for (const [written, text, missing] of TABLE) {
  test(`${written} becomes ${text}`, () => {
    assert.deepEqual(substituteVariables(written, ENVIRONMENT), { text, missing });
  });
}
