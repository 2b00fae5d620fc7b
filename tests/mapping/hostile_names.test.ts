/**
 * No name can change what a statement says: whatever the schemas, tables, columns, fields and keys are called, every statement that is made of them has
 * the same tokens, but for the names within their quotes.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Relation } from "../../src/catalog/types.ts";
import { changeSources } from "../../src/mapping/change_sources.ts";
import {
  allKeysSql,
  existingIdsSql,
  keysSql,
  loadSql,
  missingKeysSql,
  sampleKeysSql,
} from "../../src/mapping/document_sql.ts";
import { missingIndexes } from "../../src/mapping/missing_indexes.ts";
import { identityNeeds } from "../../src/mapping/replica_identity.ts";
import { leftOutSql } from "../../src/mapping/root_rows_sql.ts";
import { mapDocument } from "../../src/mapping/tree.ts";
import { quoteIdentifier } from "../../src/postgres/quote.ts";
import { publicationSql } from "../../src/replication/publication.ts";
import { lockSql } from "../../src/replication/publication_change.ts";
import type { DocumentSchema } from "../../src/schema/tree.ts";
import { startReplicationSql } from "../../src/replication/stream.ts";
import { refreshSql } from "../../src/sync/source/materialized_views.ts";
import { type SqlToken, sqlTokens } from "../support/sql_tokens.ts";
import { catalogOf, node, PLACE, relation } from "./fixtures.ts";

const COUNT = 26;

/** Gives the name of a number. Names sort by their numbers, for statements list some things in the order of their names. */
type Naming = (number: number) => string;

const letter = (number: number) => String.fromCharCode(97 + number);
const plain: Naming = (number) => `${letter(number)}_plain_${number}`;

const DOCUMENT: Omit<DocumentSchema, "root"> = {
  database: "shop",
  index: "books",
  plugins: [],
  pipeline: null,
  routing: null,
  setting: null,
  mapping: null,
  mappings: null,
  place: PLACE,
};

/** A schema with all kinds of nodes: children by composite keys, through a link table, one and many, scalars, JSON paths, renamed fields. */
function statements(name: Naming): string[] {
  const key = (schema: number, table: number, columns: readonly number[]) => ({
    schema: name(schema),
    table: name(table),
    columns: columns.map(name),
  });
  const table = (
    [schema, at]: readonly [number, number],
    columns: Readonly<Record<number, string>>,
    primary: readonly number[],
    references: readonly { readonly from: readonly number[]; readonly to: ReturnType<typeof key> }[] = [],
  ): Relation => ({
    ...relation(
      name(at),
      Object.fromEntries(Object.entries(columns).map(([number, type]) => [name(Number(number)), type])),
      { schema: name(schema), key: primary.map(name) },
    ),
    oid: 16384 + at,
    foreignKeys: references.map(({ from, to }, index) => ({
      name: `${name(at)}_${index}`,
      columns: from.map(name),
      target: { schema: to.schema, table: to.table },
      targetColumns: to.columns,
    })),
  });
  const book = table([0, 1], { 2: "text", 3: "int4", 4: "int4", 5: "jsonb", 6: "json" }, [2, 3], [
    { from: [4], to: key(0, 7, [8]) },
  ]);
  const publisher = table([0, 7], { 8: "int4", 9: "text" }, [8]);
  const review = table([10, 11], { 12: "int8", 13: "text", 14: "int4", 15: "float8" }, [12], [
    { from: [13, 14], to: key(0, 1, [2, 3]) },
  ]);
  const author = table([10, 16], { 17: "uuid", 18: "text" }, [17]);
  const link = table([10, 19], { 20: "text", 21: "int4", 22: "uuid" }, [], [
    { from: [20, 21], to: key(0, 1, [2, 3]) },
    { from: [22], to: key(10, 16, [17]) },
  ]);
  const catalog = catalogOf(book, publisher, review, author, link);
  const long = `${
    name(15)
  } is longer than an identifier of PostgreSQL can be, so that it must stand in a literal`;
  const root = node(name(1), {
    schema: name(0),
    transform: { rename: { [name(3)]: name(23) } },
    children: [
      node(name(7), {
        schema: name(0),
        label: name(24),
        columns: [name(9)],
        relationship: { type: "one_to_one" },
      }),
      node(name(11), {
        schema: name(10),
        label: name(25),
        relationship: {},
        transform: { rename: { [name(15)]: long } },
      }),
      node(name(16), {
        schema: name(10),
        columns: [name(18)],
        relationship: { throughTables: [{ schema: name(10), table: name(19) }], variant: "scalar" },
      }),
    ],
  });
  const paths = [`${name(5)}->${name(9)}->0`, `${name(6)}->>${name(12)}`];
  const documents = [root, { ...root, columns: paths }].map((each) =>
    mapDocument({ ...DOCUMENT, root: each }, catalog)
  );
  const all = documents.flatMap((document) => {
    const sources = changeSources(document);
    return [
      loadSql(document, { kind: "whole" }),
      loadSql(document, { kind: "pages", from: 1, to: 9 }),
      loadSql(document, { kind: "keys", from: [name(20), name(21)], to: [name(22), name(23)] }),
      keysSql(document, "correlated"),
      keysSql(document, "set-wise"),
      allKeysSql(document),
      allKeysSql(document, { kind: "keys", from: [name(20), name(21)], to: null }),
      missingKeysSql(document),
      existingIdsSql(document),
      sampleKeysSql(document, 5, 1),
      leftOutSql(document) ?? "",
      ...sources.map(({ sql }) => sql ?? ""),
      ...identityNeeds(sources).flatMap(({ sql }) => sql),
      ...missingIndexes(document).map(({ sql }) => sql),
    ];
  });
  const tables = [book, publisher, link];
  return [
    ...all,
    ...publicationSql(null, { name: name(0), tables, version: 180_000 }),
    lockSql(tables),
    refreshSql({ ...author, populated: true, concurrently: true, mayRefresh: true }),
    startReplicationSql({ slot: name(1), publication: name(2), startLsn: 1n }, 170_000),
  ];
}

/** Text that ends strings, identifiers and statements, begins comments and parameters, or is none in some encoding. */
const hostile = fc.oneof(
  fc.constantFrom(
    ...[
      "'",
      '"',
      "';--",
      '";--',
      "/*",
      "*/",
      "--",
      "\\",
      "\\'",
      "$1",
      "$$",
      "$a$",
      "E'",
      "U&'",
      "\n",
      "\r",
      "\t",
      ";",
      "%s",
      "::",
      "{",
      "}",
    ],
    ...[
      "\u2028",
      "ʼ",
      "’",
      "＇",
      "\u0001",
      "\u{1f600}",
      "é",
      "e\u0301",
      "' OR",
      "');",
      '");',
      '"."',
      ",",
      "()",
      "?",
    ],
  ),
  fc.string({ unit: "binary", minLength: 0, maxLength: 3 }),
).filter((text) => !/[\0>]/.test(text));

test("names that hold anything stand within their quotes, and change nothing else of a statement", () => {
  const expected = statements(plain).map(sqlTokens);
  const kinds = new Set(expected.flat().map(({ kind }) => kind));
  assert.deepEqual([...kinds].toSorted(), ["identifier", "number", "parameter", "string", "symbol", "word"]);
  fc.assert(
    fc.property(fc.array(hostile, { minLength: COUNT, maxLength: COUNT }), (texts) => {
      // With letters around them, names keep their order, and are no paths and no positions of a list.
      const name: Naming = (number) => `${letter(number)}${texts[number] ?? ""}z`;
      const found = statements(name);
      assert.equal(found.length, expected.length);
      for (const [at, tokens] of expected.entries()) {
        const sql = found[at] ?? "";
        assert.deepEqual(sqlTokens(sql), tokens.map((token) => renamed(token, name)), sql);
      }
    }),
    { numRuns: 300 },
  );
});

/** The token with other names. Literals hold names among other things, or quoted ones. */
function renamed(token: SqlToken, name: Naming): SqlToken {
  if (token.kind !== "identifier" && token.kind !== "string") return token;
  const text = token.text
    .replaceAll(/"([a-z]_plain_(\d+))"/g, (_all, _name, number) => quoteIdentifier(name(Number(number))))
    .replaceAll(/[a-z]_plain_(\d+)/g, (_all, number) => name(Number(number)));
  return { kind: token.kind, text };
}
