import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Bench } from "./support.ts";

const TABLES = `
  create table book (id int primary key, title text);
  create table author (id int primary key, name text);
  create table book_author (book_id int references book on delete cascade, author_id int references author on delete cascade,
    primary key (book_id, author_id));
  create table rating (id int primary key, book_id int references book on delete cascade, value int);
  create index on rating (book_id); create index on book_author (author_id);
  insert into book select g, 'book ' || g from generate_series(1, 2000) g;
  insert into author select g, 'author ' || g from generate_series(1, 50) g;
  insert into book_author select b, 1 + (b * 7 + a) % 50 from generate_series(1, 2000) b, generate_series(1, 2) a;
  insert into rating select g, 1 + g % 2000, g % 5 from generate_series(1, 4000) g;
  analyze`;
const BOOKS = `
table: book
children:
  - {table: rating, label: ratings, relationship: {variant: object, type: one_to_many}}
  - {table: author, label: authors, relationship: {variant: object, type: one_to_many, through_tables: [book_author]}}`;
const AUTHORS = `
table: author
children:
  - table: book
    label: books
    columns: [title]
    relationship: {variant: scalar, type: one_to_many, through_tables: [book_author]}`;

for (const major of [17, 15] as const) {
  describe(`Streaming, PostgreSQL ${major}`, () => {
    it("transactions of 5,000 rows, for two documents over one slot", async () => {
      await using bench = await Bench.open(major, TABLES, [BOOKS, AUTHORS]);
      bench.start();
      await bench.assertSettled("after the initial load");
      const transactions = {
        "insert": `insert into book select g, 'new ' || g from generate_series(3001, 5000) g;
          insert into rating select g, g - 2000, 1 from generate_series(5001, 7000) g;
          insert into book_author select g, 1 + g % 50 from generate_series(3001, 4000) g`,
        "update":
          "update book set title = title || '!'; update rating set value = value + 1 where id <= 4000",
        "move":
          "update rating set book_id = case when id % 2 = 0 then 1 else id % 3000 + 1 end where id % 3000 + 1 <= 2000",
        "a fan-out": "update author set name = upper(name)",
        "delete": "delete from rating where id % 2 = 0; delete from book where id % 3 = 0",
      };
      for (const [what, transaction] of Object.entries(transactions)) {
        await bench.write(transaction);
        await bench.assertSettled(what);
      }
      const slots = await bench.sql`select from pg_replication_slots where database = ${bench.database.name}`;
      assert.equal(slots.length, 1);
    });

    it("changes go on while the load runs, and while several sessions write", async () => {
      await using bench = await Bench.open(major, TABLES, [BOOKS, AUTHORS], {
        loadWorkers: 3,
        bulkDocuments: 37,
      });
      bench.start();
      const sessions = Array.from({ length: 4 }, async (_, session) => {
        for (let round = 0; round < 25; round++) {
          const at = 1 + (session * 500 + round * 19) % 2000;
          await bench.write(
            `update book set title = 'session ${session} round ${round}' where id = ${at};
             update rating set book_id = ${at} where id = ${1 + (round * 83 + session) % 4000}`,
            `insert into book values (${10_000 + session * 1000 + round}, 'late');
             insert into book_author values (${10_000 + session * 1000 + round}, ${1 + round})`,
            round % 5 === 4 ? `delete from book where id = ${at}` : "select 1",
          );
        }
      });
      await Promise.all(sessions);
      await bench.assertSettled("when all have written");
    });

    it("what changes while nobody follows is caught up after the next start", async () => {
      await using bench = await Bench.open(major, TABLES, [BOOKS, AUTHORS]);
      await bench.runOnce();
      await bench.assertEqual("after a run that ends by itself");
      await bench.write(
        "update book set id = -id where id % 10 = 0 and not exists (select from rating where book_id = book.id) and not exists (select from book_author where book_id = book.id)",
        "delete from rating where id < 500",
        "update author set name = 'renamed' where id = 7",
        "delete from book where id between 100 and 200",
      );
      await bench.runOnce({ bootstrap: false });
      await bench.assertEqual("after the second run");
      bench.start({ bootstrap: false });
      await bench.write("insert into rating values (9001, 1, 9)");
      await bench.settled();
      await bench.stop();
      await bench.write("delete from rating where id = 9001", "truncate book_author");
      bench.start();
      await bench.assertSettled("after the third start");
      const loads = bench.events.filter((event) => event.type === "bulk" && event.source === "load");
      const documents = loads.reduce((sum, event) => sum + (event.type === "bulk" ? event.indexed : 0), 0);
      assert.equal(documents, 2050, "nothing is loaded twice");
    });

    it("a partition that is made later with the default identity has every document compared, for its old values are unknown", async () => {
      await using bench = await Bench.open(
        major,
        `create table book (id int primary key);
         create table rating (id int, year int, book_id int not null references book, primary key (id, year)) partition by list (year);
         create table rating_2020 partition of rating for values in (2020);
         insert into book values (1), (2); insert into rating values (1, 2020, 1)`,
        `
table: book
children:
  - {table: rating, relationship: {variant: object, type: one_to_many}}`,
      );
      bench.start();
      await bench.write("delete from rating where id = 1");
      await bench.assertSettled("a row of a partition that was there");
      await bench.write(
        "create table rating_2021 partition of rating for values in (2021)",
        "insert into rating values (1, 2021, 1)",
      );
      await bench.assertSettled("a row comes into a new partition");
      await bench.write("update rating set book_id = 2 where id = 1");
      await bench.assertSettled("it moves to another document");
      await bench.write("update rating set id = 3, book_id = 1 where id = 1");
      await bench.assertSettled("it moves back, under another key");
      await bench.write("delete from rating where id = 3");
      await bench.assertSettled("it goes");
    });

    it("where its columns may all be NULL, every document is made again instead", async () => {
      await using bench = await Bench.open(
        major,
        `create table book (id int primary key);
         create table rating (id int, year int, book_id int references book, primary key (id, year)) partition by list (year);
         insert into book values (1), (2)`,
        `
table: book
children:
  - {table: rating, relationship: {variant: object, type: one_to_many}}`,
      );
      bench.start();
      await bench.write(
        "create table rating_2021 partition of rating for values in (2021)",
        "insert into rating values (1, 2021, 1)",
      );
      await bench.assertSettled("a row comes into a new partition");
      await bench.write("delete from rating where id = 1");
      await bench.assertSettled("it goes");
    });
  });
}
