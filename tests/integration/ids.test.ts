import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { testCases } from "./cases.ts";
import { indexedDocuments } from "../oracle/compare.ts";
import { VERIFY_DEFAULTS } from "../../src/verify/verification.ts";
import { verify } from "../../src/sync/verify_run.ts";
import { Bench } from "./support.ts";

const ODD = [
  ...[
    "E'a\"b'",
    "E'a\\nb'",
    "E'\\x01\\x1f\\x7f'",
    "'ключ'",
    "'😀'",
    "E'\\u2028'",
    "' '",
    "' lead'",
    "'%2F/../x?y=z#'",
    "'a|b'",
  ],
  ...[
    "E'a\\\\b'",
    "E'\\\\'",
    "'_doc'",
    "''''",
    "'{\"index\":{}}'",
    "'null'",
    "repeat('x', 512)",
    "repeat('é', 256)",
  ],
];
const PIPES = [
  ["a|b", "c"],
  ["a", "b|c"],
  ["a\\", "|c"],
  ["a", "\\|c"],
  ["a\\|b", "c"],
  ["", "x"],
  ["x", ""],
  ["", ""],
  ["|", ""],
  ["", "|"],
  ["\\", "\\"],
].map(([b, a]) => `($$${b}$$, $$${a}$$)`).join(", ");

testCases("Ids", [
  {
    name: "of characters that JSON, paths and action lines would take for something else",
    tables: `create table k (k text primary key, t text); insert into k (k) values ${
      ODD.map((key) => `(${key})`)
    }`,
    nodes: "\ntable: k",
    changes: {
      "all rows change": "update k set t = 'changed'",
      "all keys change": "update k set k = '~' || k where octet_length(k) < 512",
      "all rows go": "delete from k where octet_length(k) < 512",
      "all keys come": `delete from k; insert into k (k) values ${ODD.map((key) => `(${key})`)}`,
    },
  },
  {
    name: "of composite keys with | and \\ in them, which never meet",
    tables:
      `create table k (b text, a text, n int default 0, primary key (b, a)); insert into k values ${PIPES}`,
    nodes: "\ntable: k",
    changes: {
      "all rows change": "update k set n = n + 1",
      "all keys are turned round": "delete from k where b = a; update k set b = '>' || a, a = b",
      "they go": "delete from k where b like '>%|%'",
      "they come": `delete from k; insert into k values ${PIPES}`,
    },
  },
  {
    name: "of bool, float, timestamptz, bytea, date and bigint",
    tables: `
      create table a (k bool primary key, t text); insert into a values (true, 't'), (false, 'f');
      create table b (k float8 primary key, t text); insert into b values ('-0', 'z'), (1e300, 'l'), ('NaN', 'n'), ('-Infinity', 'i'), (0.1, 'd');
      create table c (k timestamptz primary key, t text); insert into c values ('2020-07-01 00:00:00.5+02', 't'), ('infinity', 'i'), ('0044-03-15 BC', 'bc');
      create table d (k bytea primary key, t text); insert into d values ('', 'empty'), ('\\x5c7c00', 'x');
      create table e (k date primary key, t text); insert into e values ('-infinity', 'i'), ('5874897-12-31', 'far');
      create table f (k bigint primary key, t text); insert into f values (9223372036854775807, 'x'), (9007199254740993, 'y')`,
    nodes: ["a", "b", "c", "d", "e", "f"].map((table) => `\ntable: ${table}`),
    changes: {
      "rows change": ["a", "b", "c", "d", "e", "f"].map((table) => `update ${table} set t = 'T'`).join("; "),
      "keys change":
        `update a set k = not k where t = 'none'; delete from a where k; update b set k = 0 where k = 0; update b set k = k + 1 where k = 0.1;
        update c set k = k + interval '1 microsecond'; update d set k = k || '\\x00'; update e set k = '0044-03-15 BC' where k < 'epoch'; update f set k = k - 1`,
      "rows go": ["a", "b", "c", "d", "e", "f"].map((table) => `delete from ${table}`).join("; "),
    },
  },
  {
    name: "of arrays, alone and beside others, which join rows to documents, too",
    tables: `
      create domain trail as text[];
      create table a (k bigint[] primary key, t text); insert into a values ('{1,2}', 'x'), ('{}', 'y'), ('{{1,2},{3,NULL}}', 'z');
      create table b (id int primary key, k bigint[] references a on update cascade on delete cascade);
      insert into b values (1, '{1,2}'), (2, '{1,2}'), (3, '{}'), (4, '{{1,2},{3,NULL}}'), (5, null);
      create table c (id int primary key, b_id int references b on delete cascade); insert into c select g, g from generate_series(1, 5) g;
      create table d (n int, k trail, t text, primary key (n, k)); insert into d values (1, '{"a|b","\\"q\\\\,",NULL,"null",""}', 'x'), (2, '{}', 'y')`,
    nodes: [
      `
table: a
children:
  - table: b
    columns: [id]
    relationship: { variant: object, type: one_to_many }
    children:
      - table: c
        columns: [id]
        relationship: { variant: scalar, type: one_to_many }`,
      "\ntable: d",
    ],
    changes: {
      "children move": "update b set k = '{{1,2},{3,NULL}}' where id < 3; update c set b_id = 3 where id = 5",
      "rows change": "update a set t = 'T'; update d set t = 'T'; delete from b where id = 2",
      "keys change": "update a set k = k || 7::bigint where k = '{}'; update d set k = k || 'z'::text",
      "all are compared": "truncate c",
      "rows go":
        "delete from a where k = '{1,2,7}'; delete from a where cardinality(k) = 4; delete from d where n = 1",
    },
  },
]);

const LONG = "repeat('é', 257)";

/** The ids and reasons of dead letters. The run must be over. */
function letters(bench: Bench): string[] {
  return bench.deadLetters().map(({ id, operation, reason }) => `${operation} ${id.length}: ${reason}`)
    .toSorted();
}

for (const major of [17, 15] as const) {
  describe(`Ids that no document can have, PostgreSQL ${major}`, () => {
    it("make dead letters, by the load and by the stream; the rest goes on; another key mends them", async () => {
      await using bench = await Bench.open(
        major,
        `create table k (k text primary key, t text); insert into k values ('', 'empty'), (${LONG}, 'long');
         insert into k select 'k' || g from generate_series(1, 50) g`,
        "\ntable: k",
      );
      const index = bench.schema.documents[0]?.index ?? "";
      bench.start();
      await bench.settled();
      assert.equal(
        (await indexedDocuments(bench.searchUrl, index)).size,
        50,
        "none has an id of the engine's own making",
      );
      await bench.stop();
      const refused = letters(bench);
      assert.equal(refused.length, 2);
      assert.match(refused[0] ?? "", /^index 0: .*must not be empty/);
      assert.match(refused[1] ?? "", /^index 257: .*too long.*512 bytes.*514/);

      bench.start();
      await bench.write("update k set t = 'changed'");
      await bench.settled();
      assert.equal((await indexedDocuments(bench.searchUrl, index)).size, 50);
      await bench.stop();
      assert.deepEqual(letters(bench), refused);

      bench.start();
      await bench.write(`update k set k = 'short' where k = ${LONG}`, "delete from k where k = ''");
      await bench.assertSettled("one has a shorter key, the other is gone");
      await bench.stop();
      assert.deepEqual(letters(bench), []);
    });

    it("do not hold up a comparison of all documents", async () => {
      await using bench = await Bench.open(
        major,
        `create table k (k text primary key, t text); insert into k values ('', 'empty'), (${LONG}, 'long'), ('a', 'short');
         create table c (id int primary key, k text references k);
         insert into c values (1, ''), (2, ${LONG}), (3, 'a')`,
        `
table: k
children:
  - table: c
    columns: [id]
    relationship: { variant: scalar, type: one_to_many }`,
      );
      const index = bench.schema.documents[0]?.index ?? "";
      bench.start();
      await bench.settled();
      await bench.write("truncate c");
      await bench.settled();
      assert.deepEqual((await indexedDocuments(bench.searchUrl, index)).get("a"), {
        k: "a",
        t: "short",
        c: null,
      });
      await bench.stop();
      assert.equal(letters(bench).length, 2);

      const [found] = await Array.fromAsync(
        verify(bench.options, VERIFY_DEFAULTS, new AbortController().signal),
      );
      assert.deepEqual([found?.missing, found?.different, found?.refused], [0, 0, 2]);
    });

    it("are found missing by their documents when they are loaded anew", async () => {
      await using bench = await Bench.open(
        major,
        `create table k (b text, a text, primary key (b, a)); insert into k values ${PIPES}`,
        "\ntable: k",
      );
      await bench.runOnce();
      await bench.assertEqual("after the load");
      // Nobody hears of these.
      await bench.write(
        `select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()`,
        "delete from k where b <> '' and a <> ''",
        "insert into k values ('a', 'b|c|d')",
      );
      await bench.runOnce();
      await bench.assertEqual("after another load");
    });
  });
}
