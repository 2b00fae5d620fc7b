import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { testCases } from "./cases.ts";
import { client } from "../support/elasticsearch.ts";
import { Bench } from "./support.ts";

/** Text that does not compress, so that it is stored beside its row. */
const LONG = (length: number) =>
  `(select string_agg(md5(g::text), '') from generate_series(1, ${Math.ceil(length / 32)}) g)`;

testCases("Values that consist of others", [
  {
    name: "arrays of several dimensions, with NULLs and other bounds, composites, domains, enums",
    tables: `
      create type mood as enum ('sad', 'so "so"', 'a|b');
      create type inner_pair as (at timestamptz, bits bytea);
      create type pair as (n numeric, p inner_pair, m mood, l int[]);
      create domain percent as numeric(5, 2) check (value between 0 and 100);
      create domain percents as percent[]; create domain some_pair as pair; create domain nested as percent not null;
      create type span as range (subtype = timestamptz);
      create table v (id int primary key, a int[], t text[], z timestamptz[], b bytea[], j jsonb[], e mood, es mood[], d percent, ds percents,
        dn nested default 1, p pair, ps pair[], dp some_pair, r span, rs span[]);
      insert into v values
        (1, '{{1,2},{3,null}}', '[2:3]={"a,b","c\\"d"}', '{2020-07-01 00:00:00+02,infinity,null}', '{"\\\\xdead"}', array['{"a": 1.50}', 'null']::jsonb[],
          'so "so"', '{sad,NULL,a|b}', 14.50, '{0,99.99}', 5, (1.10, ('2020-07-01 00:00:00+02', '\\xbeef'), 'a|b', '{1}'),
          array[(null, null, null, null), (2, (null, ''), 'sad', '{}')]::pair[], (3.0, null, null, null), '[2020-07-01 00:00:00+02,)', '{"(,)"}'),
        (2, '{}', '{NULL,"NULL",""}', '{}', '{}', '{}', null, '{}', null, null, 0, null, '{}', null, 'empty', '{}'),
        (3, '{{{1}},{{2}}}', '{{a},{b}}', null, null, null, 'sad', null, 0, '{}', 100, row(null, null, null, null)::pair, null, null, null, null)`,
    nodes: "\ntable: v\ntransform: {mapping: {j: {type: object, enabled: false}}}",
    changes: {
      "bounds and order change": "update v set a = '[0:1]={5,6}', t = '{{x},{null}}', z = z || z",
      "an attribute changes": "update v set p.n = 1.100, dp.l = '{7,null}' where id = 1",
      "an enum's label changes": "alter type mood rename value 'sad' to 'blue'; update v set es = array[e]",
      "the elements go": "update v set (a, t, ps, ds) = row('{}', '{}', '{}', '{}')",
    },
  },
  {
    name: "whole numbers and others at one path of one document",
    tables: `
      create table r (id int primary key); create table c (id int primary key, r_id int references r, j jsonb);
      insert into r values (1), (2);
      insert into c values (1, 1, '{"n": 3}'), (2, 1, '{"n": 1.5}'), (3, 2, '{"n": 9007199254740993}')`,
    nodes: `
table: r
children:
  - {table: c, relationship: {variant: object, type: one_to_many}}`,
    changes: { "they change": `update c set j = '{"n": [1, 2.5, 1e300]}' where id = 1` },
  },
  {
    name: "types of extensions",
    tables: `
      create extension hstore; create extension citext; create extension ltree; create extension cube; create extension isn; create extension seg;
      create table v (id int primary key, h hstore, c citext, l ltree, q lquery, k cube, i isbn13, s seg, hs hstore[], ls ltree[]);
      create table w (id int primary key, l ltree, i isbn13, c citext);
      insert into v values (1, 'a=>1, "b c"=>NULL, d=>"2020-01-01"', 'MiXed', 'Top.Science', '*.Sci*{1,2}', '(1,2),(3,4.5)', '9780141439600', '1.50..2', array['a=>x']::hstore[], '{a.b,c}'),
        (2, '', '', '', '*', '(0)', null, '<3', '{}', null);
      insert into w values (1, 'Top.Science', '9780141439600', 'mixed'), (2, '', null, '')`,
    nodes: `
table: v
children:
  - {table: w, label: by_l, columns: [id], relationship: {variant: scalar, type: one_to_many, foreign_key: {parent: [l], child: [l]}}}
  - {table: w, label: by_c, columns: [id], relationship: {variant: scalar, type: one_to_many, foreign_key: {parent: [c], child: [c]}}}`,
    changes: {
      "values change":
        `update v set h = h || 'n=>5', hs = hs || h, k = '(1,1)', i = '9783161484100' where id = 1`,
      "children move": "update w set l = 'Top.Science', c = 'MIXED'",
      "parents move":
        "update v set l = 'Other', c = 'x' where id = 1; update v set l = 'Top.Science' where id = 2",
    },
  },
  {
    name: "values stored beside their rows, that an UPDATE leaves as they were",
    tables: `
      create table r (id int primary key, code text, far text);
      create table p (code text primary key, name text, body text, j json, jb jsonb, bin bytea);
      create table c (id int primary key, far text, n int, body text);
      alter table r alter code set storage external, alter far set storage external;
      alter table p alter code set storage external, alter body set storage external;
      alter table c alter far set storage external;
      insert into r select g, g || left(${LONG(2_400)}, 2300), g || ${
      LONG(20_000)
    } from generate_series(1, 2) g;
      insert into p select code, 'n', ${LONG(10_000)}, json_build_object('a', ${
      LONG(9_000)
    }), jsonb_build_object('a', ${LONG(9_000)}), decode(${LONG(9_000)}, 'hex') from r;
      insert into c select id, far, id, ${LONG(5_000)} from r`,
    nodes: `
table: r
columns: [id]
children:
  - {table: p, columns: [name, body, j, "jb->a", bin], relationship: {variant: object, type: one_to_one, foreign_key: {parent: [code], child: [code]}}}
  - {table: c, columns: [id, n, body], relationship: {variant: object, type: one_to_many, foreign_key: {parent: [far], child: [far]}}}`,
    changes: {
      "a key stays, a value changes": "update p set name = 'changed' where code like '1%'",
      "a link stays, a value changes": "update c set n = 10 where id = 1",
      "links move": "update c set far = (select far from r where id = 2) where id = 1",
      "a key changes":
        "update r set code = 'short' where id = 1; update p set code = 'short' where code like '1%'",
      "the long values of a root change places": "update r set far = o.far from r o where o.id = 3 - r.id",
      "long values change": "update p set body = body || 'x', j = '{}', bin = bin || '\\x00'",
      "a row goes": "delete from c where id = 2; delete from p where code = 'short'",
    },
  },
]);

for (const major of [17, 15] as const) {
  describe(`JSON that jsonb refuses, PostgreSQL ${major}`, () => {
    it("arrives as it is written: U+0000, halves of surrogate pairs, in any place", async () => {
      const texts = {
        1: String.raw`{"a": "x\u0000y", "k\u0000": [1.50]}`,
        2: String.raw`["\ud800", {"b": "\udc00\ud800"}]`,
        3: String.raw`"\u0000"`,
        4: String.raw`{"pair": "\ud83d\ude00", "text": "\\u0000"}`,
      };
      await using bench = await Bench.open(
        major,
        `create table d (id int primary key, j json); insert into d values ${
          Object.entries(texts).map(([id, text]) => `(${id}, $$${text}$$)`).join(", ")
        }`,
        "\ntable: d\ntransform: {mapping: {j: {type: object, enabled: false}}}",
      );
      bench.start();
      await bench.settled();
      const index = bench.schema.documents[0]?.index ?? "";
      const search = client(bench.searchUrl);
      for (const round of ["load", "stream"]) {
        for (const id of ["1", "2", "3"] as const) {
          const source = await search.sourceText(index, id);
          assert.equal(source, `{"id":${id},"j":${texts[id]}}`, round);
        }
        const [written, read] = [texts[4], await search.sourceText(index, "4")].map((text) =>
          JSON.parse(text ?? "")
        );
        assert.deepEqual(read, { id: 4, j: written });
        // The text is the same, so the documents are; yet each is written again.
        await bench.write("update d set j = (j::text || ' ')::json", "update d set j = trim(j::text)::json");
        await bench.settled();
      }
      await bench.stop();
      assert.deepEqual(bench.deadLetters(), []);
    });

    it("becomes a dead letter where a path makes text of it, and leaves when it is mended", async () => {
      await using bench = await Bench.open(
        major,
        String.raw`create table d (id int primary key, j json);
          insert into d values (1, '{"a": "x\u0000y"}'), (2, '{"a": "fine"}'), (3, '{"a": "\ud800"}')`,
        '\ntable: d\ncolumns: [id, "j->>a"]',
      );
      bench.start();
      await bench.settled();
      await bench.write('update d set j = \'{"a": "finer"}\' where id = 2');
      await bench.settled();
      await bench.stop();
      const letters = bench.deadLetters().map(({ id, type }) => `${id} ${type}`);
      assert.deepEqual(letters.toSorted(), ["1 postgresql_22P05", "3 postgresql_22P02"]);
      bench.start();
      await bench.write('update d set j = \'{"a": "mended"}\'');
      await bench.assertSettled("mended");
      await bench.stop();
      assert.deepEqual(bench.deadLetters(), []);
    });
  });
}
