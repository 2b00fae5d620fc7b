import { testCases } from "./cases.ts";

const MANY = Array.from({ length: 120 }, (_, at) => `"column ${at}"`);
const LONG = "a field whose name is far longer than an identifier of PostgreSQL can be, with ä and 日本";

testCases("Names", [
  {
    name: "quoted, mixed case, reserved, unicode, with quotes and dollars",
    tables: `
      create schema "Select";
      create table "Select"."Order" ("Id" int primary key, "from" text, "na""me" text, "k.k1" text, "Größe €" text, "row" text, "$1" text, "it's" text, "back\\slash" text);
      create table "Select"."日本" ("n0" int primary key, "table" int references "Select"."Order", "value" text, "row" text, k1 text);
      insert into "Select"."Order" values (1, 'f', 'n', 'k', 'g', 'r', 'd', 'i', 'b'), (2, null, null, null, null, null, null, null, null);
      insert into "Select"."日本" values (1, 1, 'v', 'w', 'x')`,
    nodes: `
table: Order
schema: Select
children:
  - {table: 日本, schema: Select, label: "la'bel \\"x\\"", relationship: {variant: object, type: one_to_many}}`
      .replace(
        `"la'bel \\"x\\""`,
        `"la'bel \\\\ x"`,
      ),
    changes: {
      "a root changes": `update "Select"."Order" set "from" = 'to', "na""me" = 'x' where "Id" = 1`,
      "a child moves": `update "Select"."日本" set "table" = 2`,
      "a child is inserted": `insert into "Select"."日本" values (2, 2, null, null, null)`,
      "a root goes": `delete from "Select"."Order" where "Id" = 1`,
    },
  },
  {
    name: "of columns and tables that the statements use themselves",
    tables: `
      create table chunk (k1 int primary key, id int, document text, v text, n0 text);
      create table gn1 (id int primary key, k1 int references chunk, k text, v text);
      insert into chunk values (1, 1, 'd', 'v', 'n'), (2, 2, 'e', 'w', 'o'); insert into gn1 values (1, 1, 'k', 'v'), (2, 1, 'l', 'w')`,
    nodes: `
table: chunk
children:
  - {table: gn1, label: k, relationship: {variant: object, type: one_to_many}}`,
    changes: {
      "a child moves": "update gn1 set k1 = 2 where id = 2",
      "a root changes": "update chunk set document = null",
    },
  },
  {
    name: "the same in two schemas, and tables in several",
    tables: `
      create schema one; create schema two;
      create table one.item (id int primary key, name text);
      create table two.item (id int primary key, item_id int references one.item on update cascade, name text);
      create table item (id int primary key, item_id int references two.item, name text);
      insert into one.item values (1, 'one'), (2, 'two'); insert into two.item values (1, 1, 'eins'), (2, 1, 'zwei');
      insert into item values (1, 1, 'un'), (2, 2, 'deux')`,
    nodes: `
table: item
schema: one
children:
  - table: item
    schema: two
    label: items
    relationship: {variant: object, type: one_to_many}
    children:
      - {table: item, relationship: {variant: object, type: one_to_many}}`,
    changes: {
      "one changes": "update one.item set name = 'ONE' where id = 1",
      "two moves": "update two.item set item_id = 2 where id = 2",
      "public moves": "update item set item_id = 2",
      "one's key changes": "update one.item set id = 20 where id = 2",
    },
  },
  {
    name: "120 columns, and children beside them",
    tables: `
      create table wide (id int primary key, ${MANY.map((name) => `${name} text default 'x'`).join(", ")});
      create table narrow (id int primary key, wide_id int references wide, t text);
      insert into wide (id) values (1), (2); insert into narrow values (1, 1, 'a')`,
    nodes: [
      `
table: wide
children:
  - {table: narrow, relationship: {variant: object, type: one_to_many}}`,
      `
table: narrow
children:
  - table: wide
    relationship: {variant: object, type: one_to_one}
    transform: {rename: {"column 7": "${LONG}"}}`,
    ],
    changes: {
      "the last column changes": `update wide set "column 119" = 'y' where id = 1`,
      "a child moves": "update narrow set wide_id = 2",
    },
  },
  {
    name: "subsets of columns, labels, renames, names longer than 63 bytes",
    tables: `
      create table a (id int primary key, x text, y text, z text, secret text);
      create table b (id int primary key, a_id int references a, x text, y text);
      insert into a values (1, 'x', 'y', 'z', 's'); insert into b values (1, 1, 'bx', 'by')`,
    nodes: `
table: a
columns: [id, y, x]
transform: {rename: {y: "${LONG}", x: y}}
children:
  - table: b
    label: the-b
    columns: [y]
    transform: {rename: {y: why}}
    relationship: {variant: object, type: one_to_many}
  - {table: b, columns: [x, y], label: bs, relationship: {variant: scalar, type: one_to_many}}`,
    changes: {
      "a used column changes": "update a set x = 'X'",
      "an unused column changes": "update a set secret = 'S', z = 'Z'",
      "a child's unused column changes": "update b set x = 'BX'",
      "a child's used column changes": "update b set y = null",
    },
  },
]);

testCases("Types", [
  {
    name: "uuid, enum, date, domain and timestamp keys",
    tables: `
      create type mood as enum ('sad', 'ok', 'happy|day'); create domain code as text check (value <> '');
      create table a (u uuid, m mood, d date, c code, t timestamptz, primary key (u, m, d, c, t));
      create table b (id uuid primary key, u uuid, m mood, d date, c code, t timestamptz,
        foreign key (u, m, d, c, t) references a on update cascade on delete cascade);
      create table e (m mood primary key, n text);
      insert into a values ('00000000-0000-0000-0000-000000000001', 'sad', '2020-02-29', 'c', '2020-01-02 03:04:05.678+02'),
        ('00000000-0000-0000-0000-000000000001', 'happy|day', '0044-03-15 BC', 'd"{},\\', 'infinity');
      insert into b select md5(m::text)::uuid, a.* from a;
      insert into e values ('sad', 's'), ('ok', null)`,
    nodes: [
      `
table: a
children:
  - {table: b, columns: [id], relationship: {variant: scalar, type: one_to_many}}`,
      `
table: b
children:
  - {table: a, relationship: {variant: object, type: one_to_one}}`,
      "\ntable: e",
    ],
    changes: {
      "a child is inserted": "insert into b select md5('x' || m)::uuid, a.* from a",
      "keys change": "update a set m = 'ok', c = 'e|\\' where m = 'sad'",
      "a time changes": "update a set t = t + interval '1 microsecond' where m = 'ok'",
      "an enum key changes": "update e set m = 'happy|day' where m = 'ok'",
      "a root goes": "delete from a where m = 'ok'",
    },
  },
  {
    name: "keys whose equality is not identity: numeric",
    tables: `
      create table a (n numeric primary key, t text);
      create table b (id int primary key, n numeric references a on update cascade, t text);
      create table c (n int primary key, t text); create table d (id int primary key, n numeric, t text);
      insert into a values (1.0, 'one'), (2, 'two'); insert into b values (1, 1.00, 'x'), (2, 2.000, 'y');
      insert into c values (1, 'int'); insert into d values (1, 1.00, 'numeric')`,
    nodes: [
      `
table: a
children:
  - {table: b, label: bs, relationship: {variant: object, type: one_to_many}}`,
      `
table: b
children:
  - {table: a, relationship: {variant: object, type: one_to_one}}`,
      `
table: c
children:
  - {table: d, label: ds, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [n], child: [n]}}}`,
    ],
    changes: {
      "a key changes its digits only": "update a set n = 1.00 where n = 1",
      "a child changes": "update b set t = 'X' where id = 1",
      "a child's link changes its digits only": "update b set n = 1.000 where id = 1",
      "a key changes": "update a set n = 3.50 where n = 2",
      "a child of another type changes": "update d set t = 'Numeric'",
      "a child of another type changes its digits": "update d set n = 1.0000",
      "digits and text": "update a set n = 1, t = 'uno' where n = 1",
      "to and fro": "update a set n = 1.0 where n = 1; update a set n = 1.00 where n = 1",
      "rows go": "delete from b where id = 1; delete from a where n = 1",
    },
  },
  {
    name: "keys whose equality is not identity: char(n), float",
    tables: `
      create table a (c char(5) primary key, f float8 unique, t text);
      create table b (id int primary key, c char(5) references a on update cascade, f float8, x text);
      create table two (c char(4), n int, t text, primary key (c, n));
      create table three (id int primary key, c char(4), n int, foreign key (c, n) references two on update cascade);
      insert into a values ('ab', 0, 'x'), ('a|', 'NaN', 'y'); insert into b values (1, 'ab', '-0', 'b'), (2, 'a|', 'NaN', 'c');
      insert into two values ('x', 1, 't'), ('y|', 2, 'u'); insert into three values (1, 'x', 1), (2, 'y|', 2)`,
    nodes: [
      `
table: a
children:
  - {table: b, label: by_c, relationship: {variant: object, type: one_to_many}}
  - table: b
    label: by_f
    relationship: {variant: object, type: one_to_many, foreign_key: {parent: [f], child: [f]}}`,
      `
table: two
children:
  - {table: three, relationship: {variant: object, type: one_to_many}}`,
    ],
    changes: {
      "a root changes": "update a set t = 'X'",
      "a child changes": "update b set x = 'B'; update three set id = id + 10",
      "a float changes its sign only": "update a set f = '-0' where c = 'ab'",
      "a key changes": "update a set c = 'b' where c = 'ab'; update two set c = 'z|z' where n = 1",
      "a child moves": "update b set c = 'b' where id = 2",
      "a root goes": "delete from b; delete from a where c = 'a|'",
    },
  },
  {
    name: "char(n) linked to varchar, which blanks at the end do not tell apart, and to text, which they do",
    tables: `
      create table a (id int primary key, c char(4) unique, v varchar(9), t text);
      create table b (id int primary key, v varchar(9) unique, c char(4) references a (c) on update cascade, x text);
      create table ab (c char(4), v varchar(9));
      insert into a values (1, 'ab', 'k ', 'p'), (2, 'q', 'k', 'q '), (3, null, 'ab', 'ab');
      insert into b values (1, 'ab', 'ab', 'x'), (2, 'ab ', 'q', 'y'), (3, 'ab  ', null, 'z'), (4, 'k', 'q', 'q'), (5, 'q ', null, null);
      insert into ab values ('ab', 'k'), ('q', 'ab '), ('ab', 'ab')`,
    nodes: [
      `
table: a
children:
  - {table: b, label: many, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [c], child: [v]}}}
  - {table: b, label: one, relationship: {variant: object, type: one_to_one, foreign_key: {parent: [c], child: [v]}}}
  - {table: b, label: back, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [v], child: [c]}}}
  - {table: b, label: text, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [t], child: [c]}}}`,
      `
table: b
children:
  - {table: a, label: one, relationship: {variant: object, type: one_to_one, foreign_key: {parent: [v], child: [c]}}}
  - table: ab
    label: links
    relationship: {variant: object, type: one_to_many, foreign_key: {parent: [c], child: [v]}}
    children:
      - {table: a, label: many, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [c], child: [v]}}}`,
    ],
    changes: {
      "a child changes": "update b set x = 'X' where id in (2, 3)",
      "a child takes other blanks": "update b set v = 'ab   ' where id = 2",
      "a child moves": "update b set v = 'q  ' where id = 1",
      "a root's own blanks": "update a set v = 'q  ' where id = 2",
      "a text takes a blank": "update a set t = 'q' where id = 2",
      "a link row comes": "insert into ab values ('q', 'q '), ('q', 'q  ')",
      "a key changes": "update a set c = 'k' where id = 1",
      "the first of several goes": "delete from b where id = 1",
    },
  },
  {
    name: "columns that tell more apart, or less, than the comparison with another type",
    tables: `
      create extension citext;
      create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
      create collation nocase2 (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
      create table a (id int primary key, f float8 unique, t text, ci citext unique, nc text collate nocase, nc2 text collate nocase2);
      create table b (id int primary key, n numeric unique, big bigint unique, ci citext unique, t text unique, x text,
        nc text collate nocase unique);
      insert into a values (1, 0.1, 'Ab', 'K', 'K', 'ab'), (2, 9007199254740992, 'ab', 'k2', 'k', 'AB');
      insert into b values (1, 0.1, 9007199254740992, 'Ab', 'K', 'x', 'AB'), (2, 0.10000000000000000001, 9007199254740993, 'q', 'k', 'y', 'q')`,
    nodes: `
table: a
children:
  - {table: b, label: numerics, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [f], child: [n]}}}
  - {table: b, label: numeric, relationship: {variant: object, type: one_to_one, foreign_key: {parent: [f], child: [n]}}}
  - {table: b, label: bigs, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [f], child: [big]}}}
  - {table: b, label: big, relationship: {variant: object, type: one_to_one, foreign_key: {parent: [f], child: [big]}}}
  - {table: b, label: text, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [t], child: [ci]}}}
  - {table: b, label: citext, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [ci], child: [t]}}}
  - {table: b, label: folded, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [nc], child: [t]}}}
  - {table: b, label: first, relationship: {variant: object, type: one_to_one, foreign_key: {parent: [nc], child: [t]}}}
  - {table: b, label: folding, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [t], child: [nc]}}}
  - {table: b, label: exact, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [nc2], child: [nc]}}}`,
    changes: {
      "children change": "update b set x = 'X' where id = 2",
      "a child moves by a digit that the other type has not":
        "update b set n = 0.1000000000000000000001, big = 5 where id = 1",
      "a case changes":
        "update b set ci = 'ab', nc = 'Ab', t = 'k ' where id = 1; update a set ci = 'k', nc = 'k ' where id = 1",
      "roots change": "update a set f = 5 where id = 1",
    },
  },
  {
    name: "keys whose equality is not identity: citext, which an empty search path would compare as text",
    tables: `
      create extension citext;
      create table a (c citext primary key, t text); create table b (id int primary key, c citext references a on update cascade, x text);
      create table d (id int primary key, t text); create table bd (c citext, d int references d, k citext unique);
      create table e (id int primary key, k citext references bd (k) on update cascade);
      alter table bd add foreign key (c) references a on update cascade;
      insert into a values ('Ab', 'x'), ('q', 'y'); insert into b values (1, 'aB', 'b'), (2, 'Q', 'c');
      insert into d values (1, 'd'), (2, 'e'); insert into bd values ('aB', 1, 'K'), ('Q', 2, 'l'); insert into e values (1, 'k')`,
    nodes: [
      `
table: a
children:
  - {table: b, label: bs, relationship: {variant: object, type: one_to_many}}
  - {table: d, label: ds, relationship: {variant: object, type: one_to_many, through_tables: [bd]}}
  - table: bd
    label: links
    relationship: {variant: object, type: one_to_many}
    children:
      - {table: e, label: es, relationship: {variant: object, type: one_to_many}}`,
      `
table: b
children:
  - {table: a, relationship: {variant: object, type: one_to_one}}`,
    ],
    changes: {
      "a child changes": "update b set x = 'B' where id = 1; update d set t = 'D'",
      "a grandchild comes": "insert into e values (2, 'L')",
      "a key changes its case": "update a set c = 'AB' where c = 'ab'",
      "a child moves": "update b set c = 'AB' where id = 2; update bd set c = 'aB' where d = 2",
      "a key changes": "update a set c = 'Zz' where c = 'ab'",
    },
  },
  {
    name: "partitioned tables as root, child and link",
    tables: `
      create table a (id int, region text, t text, primary key (region, id)) partition by list (region);
      create table a_eu partition of a for values in ('eu') partition by range (id);
      create table a_eu_1 partition of a_eu for values from (0) to (100);
      create table a_eu_2 partition of a_eu for values from (100) to (200);
      create table a_rest partition of a default;
      create table b (id int, a_id int, region text, t text, primary key (id),
        foreign key (region, a_id) references a (region, id) on update cascade on delete cascade) partition by hash (id);
      create table b_0 partition of b for values with (modulus 2, remainder 0);
      create table b_1 (t text, region text, junk int, a_id int, id int not null);
      alter table b_1 drop column junk;
      alter table b attach partition b_1 for values with (modulus 2, remainder 1);
      create table c (id int primary key, t text);
      create table ac (region text, a int, c int references c, foreign key (region, a) references a on delete cascade) partition by list (region);
      create table ac_eu partition of ac for values in ('eu'); create table ac_rest partition of ac default;
      insert into a values (1, 'eu', 'x'), (101, 'eu', 'y'), (1, 'us', 'z');
      insert into b select g, case g % 3 when 0 then 101 else 1 end, case g % 3 when 2 then 'us' else 'eu' end, 't' || g from generate_series(1, 12) g;
      insert into c values (1, 'c'), (2, 'd'); insert into ac values ('eu', 1, 1), ('us', 1, 2), ('us', 1, 1)`,
    nodes: `
table: a
children:
  - {table: b, label: bs, columns: [id, t], relationship: {variant: object, type: one_to_many}}
  - {table: c, label: cs, relationship: {variant: object, type: one_to_many, through_tables: [ac]}}`,
    changes: {
      "a root is inserted": "insert into a values (102, 'eu', 'n')",
      "a child changes": "update b set t = 'T' where id in (1, 2)",
      "children move": "update b set a_id = 102 where id in (3, 4)",
      "a child moves to another partition": "update b set id = id + 1000 where id in (5, 6, 7)",
      "a link moves to another partition": "update ac set region = 'eu', a = 101 where c = 2",
      "a root moves to another partition":
        "delete from ac where region = 'us'; update a set region = 'jp' where region = 'us'",
      "roots go":
        "delete from b where region = 'eu' and a_id = 1; delete from a where region = 'eu' and id = 1",
      "the whole child table is truncated": "truncate b",
      "a new partition":
        "create table a_asia partition of a_eu for values from (200) to (300); insert into a values (201, 'eu', 'asia')",
      "its row changes":
        "update a set t = 'ASIA' where id = 201; insert into b values (900, 201, 'eu', 'of it')",
    },
  },
  {
    name: "values of many types, and JSON in every form",
    tables: `
      create type pair as (a int, b text);
      create table v (id int primary key, n numeric, big bigint, f real, d double precision, b bool, bin bytea, ts timestamp,
        tz timestamptz, da date, ti time, iv interval, u uuid, arr int[], texts text[], j json, jb jsonb, p pair, r int4range, c char(5),
        inet inet, txt text, money numeric(30, 10), x xml, bits bit(3));
      insert into v (id) values (1);
      insert into v values (2, 123456789012345678901234567890.12345678901234567890, 9223372036854775807, 1.5, 1e300, true, '\\xdeadbeef',
        '2020-01-02 03:04:05.6', '2020-01-02 03:04:05.6+05', '2020-02-29', '12:00', '1 day 02:03:00', '00000000-0000-0000-0000-00000000000A',
        '{1,null,3}', '{"a b","c\\"d",null}', '{"b": 1, "a": {"x": 1.50}, "b": 2,
 "long": 12345678901234567890.10}', '{"b": 1, "a": [1, {"k": "v"}]}', (1, 'x'), '[1,5)', 'ab', '10.0.0.1/8', E'line\\nbreak "q" \\\\ \\u2028 😀 <&>', 14.5, '<a/>', '101'),
        (3, 'NaN', -9007199254740993, '-0', 'Infinity', false, '', 'infinity', '-infinity', '0001-01-01', '24:00', '-1 year', null,
        '{}', '{}', '[]', '{}', null, 'empty', '', '::1', '', 0.0000000001, null, '000')`,
    nodes: `
table: v
columns: [id, n, big, f, d, b, bin, ts, tz, da, ti, iv, u, arr, texts, j, jb, p, c, inet, txt, money, x, bits]
transform: {mapping: {jb: {type: object, enabled: false}}}`,
    changes: {
      "json changes its blanks": `update v set j = '{"b":3,"a":{"x":1.50}}' where id = 2`,
      "digits change": "update v set n = 1.10, money = 14.50 where id = 2",
      "everything becomes null":
        "update v set (n, big, f, d, j, jb, txt, arr, c) = row(null, null, null, null, null, null, null, null, null)",
      "a long text":
        "update v set txt = (select string_agg(md5(g::text), '') from generate_series(1, 1000) g) where id = 2",
      "beside a long text that stays": "update v set big = 5 where id = 2",
    },
  },
  {
    name: "paths into JSON columns",
    tables: `
      create table doc (id int primary key, jb jsonb, js json, "my doc" jsonb);
      create table sub (id int primary key, doc_id int references doc, jb jsonb);
      insert into doc values (1, '{"a": [10, {"b": "x"}], "k": {"m": 1.50, "0": "zero"}, "t": "text", "f": false, "n": null}',
          '{"a": {"b": [1, 2,
          3]}, "a": {"b": [4.0], "c": "C"}}', '{"k": 1}'), (2, null, null, null), (3, '[1, 2]', '"s"', '3');
      insert into sub values (1, 1, '{"deep": {"er": [{"x": 12345678901234567890}]}}'), (2, 1, null)`,
    nodes: `
table: doc
columns: [id, "jb->a->0", "jb->a->1->b", "jb->>t", "jb->>f", "jb->>n", "jb#>{k,m}", "jb#>>{k,m}", "jb#>>{a,1}", "jb->a", "js->a->b", "js#>>{a,c}", "js->>a", "my doc->k", "jb->0"]
transform: {rename: {jb_a_0: first}, mapping: {jb_a: {type: object, enabled: false}}}
children:
  - {table: sub, columns: ["jb#>{deep,er,0,x}"], relationship: {variant: scalar, type: one_to_many}}`,
    changes: {
      "inside": `update doc set jb = jsonb_set(jb, '{a,0}', '11') where id = 1`,
      "the whole": `update doc set jb = '{"t": {"x": [1, "y"]}}', js = '{"a": {"c": 5}}' where id = 2`,
      "of a child": `update sub set jb = '{"deep": {"er": [{"x": 7}]}}' where id = 2`,
    },
  },
  {
    name: "generated columns, and xmin's absence",
    tables: `
      create table g (id int primary key, a int, doubled int generated always as (a * 2) stored, s text);
      create table h (id int primary key, g_double int, t text generated always as ('h' || id) stored);
      insert into g (id, a) values (1, 1), (2, 2); insert into h values (1, 2), (2, 4)`,
    nodes: `
table: g
children:
  - {table: h, columns: [t], relationship: {variant: scalar, type: one_to_many, foreign_key: {parent: [a], child: [g_double]}}}`,
    changes: {
      "the generated value changes": "update g set a = 4 where id = 2",
      "a child's generated value changes": "update h set id = 20 where id = 2",
    },
  },
  {
    name: "children and links without keys, in the order of all their columns",
    tables: `
      create table a (id int primary key);
      create table log (a_id int references a, line text, j json);
      insert into a values (1), (2); insert into log values (1, 'b', '{"x":1}'), (1, 'a', null), (1, 'b', '{"x":1}'), (2, null, null)`,
    nodes: `
table: a
children:
  - {table: log, relationship: {variant: object, type: one_to_many}}
  - {table: log, label: one, columns: [line], relationship: {variant: scalar, type: one_to_one}}`,
    changes: {
      "one of two equal rows changes":
        "update log set line = 'c' where ctid = (select min(ctid) from log where line = 'b')",
      "rows move": "update log set a_id = 2 where line = 'b'",
      "rows go": "delete from log where a_id = 1",
    },
  },
]);
