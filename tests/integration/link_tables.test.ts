import { testCases } from "./cases.ts";

const BOOKS = `
  create table book (isbn text primary key, title text);
  create table author (id int primary key, name text);`;
const BOOK_ROWS = `
  insert into book values ('1', 'one'), ('2', 'two'), ('3', 'three');
  insert into author values (1, 'Ann'), (2, 'Bob'), (3, 'Cem'), (4, 'Dee');`;
const NODES = `
table: book
children:
  - table: author
    label: authors
    relationship: {variant: object, type: one_to_many, through_tables: [book_author]}`;

testCases("Children joined by a link table", [
  {
    name: "with a composite key",
    tables: `${BOOKS}
      create table book_author (
        author_id int references author on update cascade on delete cascade,
        isbn text references book on update cascade on delete cascade, primary key (author_id, isbn));
      ${BOOK_ROWS}
      insert into book_author values (2, '1'), (1, '1'), (1, '2')`,
    nodes: NODES,
    changes: {
      "a link is inserted": "insert into book_author values (3, '2')",
      "a link's near side moves": "update book_author set isbn = '3' where author_id = 3",
      "a link's far side moves": "update book_author set author_id = 4 where author_id = 2",
      "both sides of a link move": "update book_author set author_id = 2, isbn = '2' where author_id = 4",
      "a far row is updated": "update author set name = 'Anna' where id = 1",
      "a far key changes": "update author set id = 10 where id = 1",
      "a root's key changes": "update book set isbn = '30' where isbn = '3'",
      "a link is deleted": "delete from book_author where author_id = 3",
      "a far row is deleted with its links": "delete from author where id = 10",
      "a root is deleted with its links": "delete from book where isbn = '2'",
      "a root, a far row and their link come together": `
        insert into book values ('4', 'four'); insert into author values (5, 'Eve'); insert into book_author values (5, '4')`,
      "the links are truncated": "truncate book_author",
      "links come again": "insert into book_author select a.id, b.isbn from author a, book b",
      "far rows and links are truncated": "truncate author cascade",
    },
  },
  {
    name: "with a surrogate key, where a far row can be linked twice",
    tables: `${BOOKS}
      create table book_author (id serial primary key, isbn text references book on update cascade on delete set null,
        author_id int references author on update cascade on delete cascade, part text);
      ${BOOK_ROWS}
      insert into book_author (isbn, author_id) values ('1', 2), ('1', 1), ('1', 2), ('2', null), (null, 3)`,
    nodes: [
      NODES,
      `
table: author
children:
  - table: book
    label: titles
    columns: [title]
    relationship: {variant: scalar, type: one_to_many, through_tables: [book_author]}`,
    ],
    changes: {
      "a link without a far row finds one": "update book_author set author_id = 4 where isbn = '2'",
      "a link without a root finds one": "update book_author set isbn = '3' where author_id = 3",
      "a link loses its far row": "update book_author set author_id = null where author_id = 4",
      "a link loses its root": "update book_author set isbn = null where author_id = 3",
      "one of two equal links goes": "delete from book_author where id = 1",
      "a link's own key changes": "update book_author set id = 100 where id = 2",
      "a link's other column changes": "update book_author set part = 'x'",
      "a root goes, its links stay": "delete from book where isbn = '1'",
      "a title becomes null": "update book set title = null",
      "all links point to one author": "update book_author set author_id = 1, isbn = '2'",
    },
  },
  {
    name: "without any key",
    tables: `${BOOKS}
      create table book_author (isbn text references book on update cascade on delete cascade,
        author_id int references author on update cascade on delete cascade);
      ${BOOK_ROWS}
      insert into book_author values ('1', 2), ('1', 1), ('1', 2)`,
    nodes: NODES,
    changes: {
      "a link moves": "update book_author set isbn = '2' where author_id = 1",
      "a link's far side moves": "update book_author set author_id = 4 where author_id = 1",
      "one of two wholly equal links goes":
        "delete from book_author where ctid = (select min(ctid) from book_author where author_id = 2)",
      "a key changes": "update book set isbn = '20' where isbn = '2'",
      "all links go": "delete from book_author",
    },
  },
  {
    name: "with one_to_one, which is a list as well",
    tables: `${BOOKS}
      create table book_author (isbn text references book, author_id int references author, primary key (isbn, author_id));
      ${BOOK_ROWS}
      insert into book_author values ('1', 2), ('1', 1), ('2', 3)`,
    nodes: `
table: book
children:
  - table: author
    label: authors
    relationship: {variant: object, type: one_to_one, through_tables: [book_author]}
  - table: author
    label: names
    columns: [name]
    relationship: {variant: scalar, type: one_to_one, through_tables: [book_author]}`,
    changes: {
      "a link is inserted": "insert into book_author values ('3', 1)",
      "a link moves": "update book_author set isbn = '3' where author_id = 3",
      "a far row changes": "update author set name = null where id = 1",
      "links go": "delete from book_author where isbn = '1'",
    },
  },
  {
    name: "composite keys on both sides, in other orders than the link's",
    tables: `
      create table student (school int, number bigint, name text, primary key (school, number));
      create table course (code text, year int, title text, primary key (year, code));
      create table enrolment (c text, n bigint, y int, s int, grade int, primary key (n, c, s, y),
        foreign key (n, s) references student (number, school) on update cascade on delete cascade,
        foreign key (c, y) references course (code, year) on update cascade on delete cascade);
      insert into student values (1, 9007199254740993, 'Ann'), (1, 2, 'Bob'), (2, 2, 'Cem');
      insert into course values ('ma|th', 2020, 'Maths'), ('art', 2020, 'Art'), ('art', 2021, 'More art');
      insert into enrolment values ('art', 2, 2020, 1, 1), ('art', 2, 2021, 2, 2), ('ma|th', 9007199254740993, 2020, 1, 3)`,
    nodes: [
      `
table: student
children:
  - table: course
    label: courses
    relationship: {variant: object, type: one_to_many, through_tables: [enrolment]}`,
      `
table: course
children:
  - table: student
    label: students
    columns: [name]
    relationship: {variant: scalar, type: one_to_many, through_tables: [enrolment]}`,
    ],
    changes: {
      "a link is inserted": "insert into enrolment values ('art', 2, 2021, 1, 1)",
      "one column of the near side changes": "update enrolment set s = 2 where n = 2 and s = 1 and y = 2020",
      "one column of the far side changes": "update enrolment set y = 2020 where s = 1 and c = 'art'",
      "a student's key changes": "update student set school = 3 where school = 2",
      "a course's key changes": "update course set code = 'm|a|th\\' where code = 'ma|th'",
      "a course is renamed": "update course set title = title || '!'",
      "a student goes": "delete from student where number = 9007199254740993",
      "a course goes": "delete from course where year = 2020 and code = 'art'",
    },
  },
  {
    name: "in another schema than its sides",
    tables: `
      create schema "left side"; create schema links;
      create table "left side".a (id int primary key);
      create table b (id int primary key, t text);
      create table links.ab (a int references "left side".a on delete cascade, b int references b on delete cascade, primary key (a, b));
      create table ab (nothing int);
      insert into "left side".a values (1), (2); insert into b values (1, 'x'), (2, 'y');
      insert into links.ab values (1, 1), (1, 2)`,
    nodes: `
table: a
schema: left side
children:
  - {table: b, relationship: {variant: object, type: one_to_many, through_tables: [links.ab]}}`,
    changes: {
      "a link is inserted": "insert into links.ab values (2, 2)",
      "a link moves": "update links.ab set a = 2 where b = 1",
      "a far row changes": "update b set t = 'Y' where id = 2",
      "a far row goes": "delete from b where id = 2",
    },
  },
  {
    name: "three levels, each under a link table or a foreign key",
    tables: `
      create table continent (id int primary key, name text);
      create table country (id int primary key, name text, continent_id int references continent on update cascade on delete set null);
      create table city (id int primary key, name text, country_id int references country on update cascade on delete set null);
      create table author (id int primary key, name text, city_id int references city on update cascade on delete set null);
      create table tag (id int primary key, name text);
      create table author_tag (author_id int references author on update cascade on delete cascade,
        tag_id int references tag on update cascade on delete cascade, primary key (author_id, tag_id));
      create table book (id int primary key, title text);
      create table book_author (id int primary key, book_id int references book on update cascade on delete cascade,
        author_id int references author on update cascade on delete cascade);
      insert into continent values (1, 'Europe'), (2, 'Asia');
      insert into country values (1, 'Germany', 1), (2, 'Japan', 2), (3, 'Nowhere', null);
      insert into city values (1, 'Berlin', 1), (2, 'Kyoto', 2), (3, 'Bonn', 1), (4, 'Limbo', null);
      insert into author values (1, 'Ann', 1), (2, 'Bob', 2), (3, 'Cem', null);
      insert into tag values (1, 'poet'), (2, 'critic');
      insert into author_tag values (1, 1), (1, 2), (2, 1);
      insert into book values (1, 'one'), (2, 'two'), (3, 'three');
      insert into book_author values (1, 1, 1), (2, 1, 2), (3, 2, 1)`,
    nodes: `
table: book
children:
  - table: author
    label: authors
    relationship: {variant: object, type: one_to_many, through_tables: [book_author]}
    children:
      - table: tag
        label: tags
        columns: [name]
        relationship: {variant: scalar, type: one_to_many, through_tables: [author_tag]}
      - table: city
        relationship: {variant: object, type: one_to_one}
        children:
          - table: country
            relationship: {variant: object, type: one_to_one}
            children:
              - {table: continent, columns: [name], relationship: {variant: scalar, type: one_to_one}}
              - table: city
                label: cities
                columns: [name]
                relationship: {variant: scalar, type: one_to_many}`,
    changes: {
      "root: insert": "insert into book values (4, 'four')",
      "root: update": "update book set title = 'ONE' where id = 1",
      "first link: insert": "insert into book_author values (4, 4, 3)",
      "first link: move the near side": "update book_author set book_id = 3 where id = 3",
      "first link: move the far side": "update book_author set author_id = 2 where id = 3",
      "second level: update": "update author set name = 'Bobby' where id = 2",
      "second level: insert":
        "insert into author values (4, 'Dee', 3); insert into book_author values (5, 4, 4)",
      "second level: re-parent": "update author set city_id = 2 where id = 3",
      "second link: insert": "insert into author_tag values (3, 2)",
      "second link: move the near side": "update author_tag set author_id = 4 where author_id = 3",
      "second link: move the far side": "update author_tag set tag_id = 2 where author_id = 2",
      "third level: update":
        "update tag set name = 'Poet' where id = 1; update city set name = 'KYOTO' where id = 2",
      "third level: re-parent": "update city set country_id = 3 where id = 2",
      "third level: leave": "update city set country_id = null where id = 3",
      "fourth level: update": "update country set name = 'Deutschland' where id = 1",
      "fourth level: re-parent": "update country set continent_id = 2 where id = 3",
      "fifth level: update": "update continent set name = 'ASIA' where id = 2",
      "fifth level: a sibling city comes": "insert into city values (9, 'Ulm', 1)",
      "all keys change": `
        update continent set id = id + 100; update country set id = id + 200; update city set id = 1000 - id;
        update author set id = 500 - id; update tag set id = 70 - id; update book set id = id * 11;
        update book_author set id = 90 - id`,
      "an edge above changes in the transaction of a change below": `
        update author set city_id = (select min(id) from city) where name = 'Ann';
        update city set name = 'moved to' where id = (select min(id) from city);
        update book_author set book_id = (select max(id) from book) where author_id = (select id from author where name = 'Ann')`,
      "fifth level: delete": "delete from continent where name = 'ASIA'",
      "fourth level: delete": "delete from country where name = 'Deutschland'",
      "third level: delete": "delete from city where name = 'KYOTO'; delete from tag where name = 'Poet'",
      "second link: delete":
        "delete from author_tag where author_id = (select max(author_id) from author_tag)",
      "second level: delete": "delete from author where name = 'Bobby'",
      "first link: delete": "delete from book_author where id = (select min(id) from book_author)",
      "root: delete": "delete from book where id = 11",
      "second link: truncate": "truncate author_tag",
      "third level: truncate": "update author set city_id = null; truncate city cascade",
      "root: truncate": "truncate book, book_author",
    },
  },
]);
