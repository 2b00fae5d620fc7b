import { testCases } from "./cases.ts";

testCases("Children joined by foreign keys", [
  {
    name: "the key on the child, one to many",
    tables: `
      create table book (id int primary key, title text);
      create table rating (id int primary key, book_id int references book on update cascade on delete cascade, value int);
      insert into book values (1, 'one'), (2, 'two'), (3, null);
      insert into rating values (12, 1, 5), (11, 1, 4), (21, 2, 1), (99, null, 0)`,
    nodes: `
table: book
children:
  - {table: rating, relationship: {variant: object, type: one_to_many}}`,
    changes: {
      "a root is inserted": "insert into book values (4, 'four')",
      "a child is inserted": "insert into rating values (41, 4, 2)",
      "a root is updated": "update book set title = 'ONE' where id = 1",
      "a child is updated": "update rating set value = 9 where id = 11",
      "a child moves to another root": "update rating set book_id = 3 where id = 11",
      "a child leaves its root": "update rating set book_id = null where id = 12",
      "a child without a root finds one": "update rating set book_id = 2 where id = 99",
      "a child's own key changes, and with it the order": "update rating set id = 1 where id = 99",
      "a child is deleted": "delete from rating where id = 21",
      "a root's key changes, and its children follow": "update book set id = 30 where id = 3",
      "a root is deleted with its children": "delete from book where id = 30",
      "all at once": `
        insert into book values (5, 'five'); insert into rating values (51, 5, 1), (52, 5, 2);
        update rating set book_id = 1 where id = 51; update book set id = 50 where id = 5;
        delete from rating where id = 52; delete from book where id = 4`,
      "the children are truncated": "truncate rating",
      "children come again": "insert into rating select g, 1, g from generate_series(1, 20) g",
      "the roots are truncated": "truncate book cascade",
      "a root comes again": "insert into book values (1, 'again')",
    },
  },
  {
    name: "columns of two collations, which PostgreSQL does not compare by itself",
    tables: `
      create table book (id int primary key, isbn text collate "C" unique, t text);
      create table rating (id int primary key, isbn text collate "POSIX", value int);
      create table note (id int primary key, rating text collate "ucs_basic", t text);
      insert into book select g, 'i' || g, 't' from generate_series(1, 600) g;
      insert into rating select g, 'i' || g % 605, g from generate_series(1, 700) g;
      insert into note select g, 'i' || g % 610, 'n' || g from generate_series(1, 700) g`,
    nodes: `
table: book
children:
  - table: rating
    relationship: {variant: object, type: one_to_many, foreign_key: {parent: [isbn], child: [isbn]}}
    children:
      - {table: note, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [isbn], child: [rating]}}}`,
    changes: {
      "a root is inserted": "insert into book values (604, 'i604', 'new')",
      "children move": "update rating set isbn = 'i2' where id in (3, 4)",
      "grandchildren change":
        "update note set t = 'N' where id < 10; update note set rating = 'i604' where id = 11",
      "a root's value changes": "update book set isbn = 'i603' where id = 2",
      "many change": "update note set t = t || '!'; update rating set value = 0",
      "children go": "delete from rating where value = 0 and id > 50",
    },
  },
  {
    name: "the key on the parent, to an object, a scalar, and an array of one",
    tables: `
      create table language (code text primary key, name text);
      create table publisher (id bigint primary key, name text, country text);
      create table book (id int primary key, publisher_id bigint references publisher on update cascade,
        language text references language on update cascade);
      insert into language values ('en', 'English'), ('de', 'German');
      insert into publisher values (9007199254740993, 'Big', 'US'), (2, 'Small', null);
      insert into book values (1, 9007199254740993, 'en'), (2, 9007199254740993, null), (3, null, 'de')`,
    nodes: `
table: book
children:
  - {table: publisher, relationship: {variant: object, type: one_to_one}}
  - {table: publisher, label: publisher_name, columns: [name], relationship: {variant: scalar, type: one_to_one}}
  - {table: language, label: languages, relationship: {variant: object, type: one_to_many}}`,
    changes: {
      "a far row is updated": "update publisher set name = 'Bigger' where id = 9007199254740993",
      "a root refers to another": "update book set publisher_id = 2 where id = 1",
      "a root refers to none": "update book set publisher_id = null where id = 2",
      "a root refers to one": "update book set publisher_id = 2, language = 'en' where id = 3",
      "a far key changes": "update publisher set id = 7 where id = 2",
      "a far key of text changes": "update language set code = 'en-GB' where code = 'en'",
      "a far row is inserted and referred to":
        "insert into publisher values (3, 'New'); update book set publisher_id = 3 where id = 1",
      "a far row is let go and deleted": `
        update book set publisher_id = null where publisher_id = 7; delete from publisher where id = 7`,
    },
  },
  {
    name: "composite keys in another column order than their constraint's, not called id",
    tables: `
      create table shop_order (year int, branch text, number int, note text, primary key (number, year, branch));
      create table line (b text, position int, y int, n int, item text, primary key (position, n, y, b),
        foreign key (b, n, y) references shop_order (branch, number, year) on update cascade on delete cascade);
      insert into shop_order values (2020, 'a|b', 1, 'x'), (2021, 'a\\b', 1, 'y'), (2020, 'a', 2, null), (2020, '', 3, '');
      insert into line values ('a|b', 2, 2020, 1, 'second'), ('a|b', 1, 2020, 1, 'first'), ('a\\b', 1, 2021, 1, 'z')`,
    nodes: `
table: shop_order
children:
  - table: line
    columns: [position, item]
    relationship: {variant: object, type: one_to_many}`,
    changes: {
      "a child is inserted": "insert into line values ('a', 1, 2020, 2, 'new')",
      "a child moves by one column of three": "update line set y = 2020, n = 3, b = '' where b = 'a\\b'",
      "a child's place changes": "update line set position = 9 where position = 1 and b = 'a|b'",
      "a root's key gets a pipe": "update shop_order set branch = 'a|' where branch = 'a'",
      "a root's key loses its pipe": "update shop_order set branch = 'ab' where branch = 'a|b'",
      "a root with a backslash gets a pipe": "update shop_order set branch = '\\|' where branch = 'a\\b'",
      "a root is deleted": "delete from shop_order where branch = '\\|'",
      "ids that would be the same unescaped":
        "insert into shop_order values (1, 'p|1', 5), (1, 'p', 51); insert into line values ('p|1', 1, 1, 5, 'q')",
    },
  },
  {
    name: "columns given in the schema file, without a constraint",
    tables: `
      create table customer (id int primary key, code text, name text);
      create table invoice (number int primary key, customer_code text, total numeric(20, 4));
      create index on customer (code); create index on invoice (customer_code);
      insert into customer values (1, 'c1', 'One'), (2, 'c2', 'Two'), (3, 'c1', 'Also one'), (4, null, 'None');
      insert into invoice values (1, 'c1', 12345678901234.5000), (2, 'c1', 0.0001), (3, 'c9', 1), (4, null, 2)`,
    nodes: `
table: customer
children:
  - table: invoice
    label: invoices
    relationship: {variant: object, type: one_to_many, foreign_key: {parent: [code], child: [customer_code]}}
  - table: invoice
    label: first_invoice
    columns: [number]
    relationship: {variant: scalar, type: one_to_one, foreign_key: {parent: [code], child: [customer_code]}}`,
    changes: {
      "a child belongs to two roots": "update invoice set total = 7.0000 where number = 1",
      "a root's link value changes": "update customer set code = 'c9' where id = 1",
      "several roots' link values change": "update customer set code = 'c1'",
      "a child comes first": "insert into invoice values (0, 'c1', 3)",
      "the first child goes": "delete from invoice where number = 0",
      "a child's link value changes": "update invoice set customer_code = 'c9' where number = 2",
      "no more link values": "update customer set code = null where id in (1, 2)",
      "children swap": "update invoice set number = -number",
    },
  },
  {
    name: "a foreign key to a unique column that is not the primary key",
    tables: `
      create table country (id int primary key, iso text unique not null, name text);
      create table city (id int primary key, country_iso text references country (iso) on update cascade on delete set null, name text);
      insert into country values (1, 'DE', 'Germany'), (2, 'FR', 'France');
      insert into city values (1, 'DE', 'Berlin'), (2, 'DE', 'Bonn'), (3, 'FR', 'Paris'), (4, null, 'Atlantis')`,
    nodes: [
      `
table: country
children:
  - {table: city, columns: [name], relationship: {variant: scalar, type: one_to_many}}`,
      `
table: city
children:
  - {table: country, relationship: {variant: object, type: one_to_one}}`,
    ],
    changes: {
      "the referenced value changes": "update country set iso = 'GER' where iso = 'DE'",
      "a city moves": "update city set country_iso = 'FR' where id = 2",
      "a country is renamed": "update country set name = 'La France' where id = 2",
      "values are swapped": `
        update country set iso = 'tmp' where id = 1; update country set iso = 'GER' where id = 2;
        update country set iso = 'FR' where id = 1`,
      "a country goes": "delete from country where id = 1",
    },
  },
  {
    name: "one to one with several matches takes the first by primary key",
    tables: `
      create table person (id int primary key);
      create table photo (id int primary key, person_id int references person, url text);
      insert into person values (1), (2);
      insert into photo values (2, 1, 'b'), (1, 1, 'a'), (3, 2, 'c')`,
    nodes: `
table: person
children:
  - {table: photo, relationship: {variant: object, type: one_to_one}}`,
    changes: {
      "a later one changes": "update photo set url = 'B' where id = 2",
      "an earlier one comes": "insert into photo values (0, 1, 'z')",
      "the first one moves away": "update photo set person_id = 2 where id = 0",
      "the first one gets a later key": "update photo set id = 9 where id = 1",
      "the first one goes": "delete from photo where id = 2",
      "the last one goes": "delete from photo where person_id = 1",
    },
  },
  {
    name: "the same table in two roles, and a table that stands above itself",
    tables: `
      create table team (id int primary key, name text);
      create table match (id int primary key, home int references team, away int references team, referee int);
      insert into team values (1, 'A'), (2, 'B'), (3, 'C');
      insert into match values (1, 1, 2, 3), (2, 2, 1, null), (3, 1, 1, 1)`,
    nodes: [
      `
table: match
children:
  - table: team
    label: home_team
    relationship: {variant: object, type: one_to_one, foreign_key: {parent: [home], child: [id]}}
  - table: team
    label: away_team
    columns: [name]
    relationship: {variant: scalar, type: one_to_one, foreign_key: {parent: [away], child: [id]}}
    `,
      `
table: team
children:
  - table: match
    label: home_matches
    columns: [id]
    relationship: {variant: object, type: one_to_many, foreign_key: {parent: [id], child: [home]}}
    children:
      - table: team
        label: opponent
        columns: [name]
        relationship: {variant: object, type: one_to_one, foreign_key: {parent: [away], child: [id]}}`,
    ],
    changes: {
      "a name changes": "update team set name = 'Alpha' where id = 1",
      "sides are swapped": "update match set home = away, away = home where id = 1",
      "a match of a team with itself": "update match set away = home where id = 2",
      "a match is added": "insert into match values (4, 3, 2, 1)",
      "a match goes": "delete from match where id = 3",
      "all names change": "update team set name = name || name",
    },
  },
  {
    name: "a table that refers to itself, to the depth that the schema draws",
    tables: `
      create table node (id int primary key, parent_id int references node on delete cascade on update cascade, name text);
      insert into node values (1, null, 'root'), (2, 1, 'a'), (3, 1, 'b'), (4, 2, 'aa'), (5, 4, 'aaa'), (6, 5, 'aaaa')`,
    nodes: `
table: node
children:
  - table: node
    label: children
    relationship: {variant: object, type: one_to_many}
    children:
      - table: node
        label: grandchildren
        relationship: {variant: object, type: one_to_many, foreign_key: {parent: [id], child: [parent_id]}}
  - table: node
    label: above
    columns: [name]
    relationship: {variant: scalar, type: one_to_one, foreign_key: {parent: [parent_id], child: [id]}}`,
    changes: {
      "a name in the middle changes": "update node set name = 'A' where id = 2",
      "a subtree moves": "update node set parent_id = 3 where id = 4",
      "a leaf becomes a root": "update node set parent_id = null where id = 6",
      "a key in the middle changes": "update node set id = 40 where id = 4",
      "a node refers to itself": "update node set parent_id = id where id = 6",
      "a subtree goes": "delete from node where id = 3",
      "a chain is inserted": "insert into node values (10, 2, 'x'), (11, 10, 'y'), (12, 11, 'z')",
      "a chain is turned":
        "update node set parent_id = case id when 10 then 11 when 11 then 12 else null end where id >= 10",
    },
  },
]);
