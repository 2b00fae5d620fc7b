/** A link is unique by an index of the child: what becomes of the documents when such an index comes or goes. */
import { describe, it } from "node:test";
import { Bench } from "./support.ts";

const TABLES = `
  create table book (id int primary key, code text, title text);
  create table cover (id int primary key, book_id int not null, book_code text, colour text);
  create unique index one_cover on cover (book_id);
  insert into book select g, 'c' || g, 'book ' || g from generate_series(1, 30) g;
  insert into cover select g, g, 'c' || g, 'red' from generate_series(1, 20) g`;
const NODES = `
table: book
children:
  - table: cover
    relationship: {variant: object, type: one_to_one, foreign_key: {parent: [id], child: [book_id]}}
  - table: cover
    label: by_code
    relationship: {variant: object, type: one_to_many, foreign_key: {parent: [code], child: [book_code]}}`;
const UPSIDE_DOWN = `
table: cover
children:
  - {table: book, relationship: {variant: object, type: one_to_one, foreign_key: {parent: [book_id], child: [id]}}}`;

for (const major of [17, 15] as const) {
  describe(`Unique indexes that come and go, PostgreSQL ${major}`, () => {
    it("while they are followed: one that made a link unique, one that is a replica identity", async () => {
      await using bench = await Bench.open(major, TABLES, [NODES, UPSIDE_DOWN]);
      bench.start();
      await bench.assertSettled("after the load");
      // From here on a book can have two covers, of which the first is shown.
      await bench.write(
        "drop index one_cover",
        "insert into cover select 100 + g, g, 'c' || g, 'blue' from generate_series(1, 10) g",
      );
      await bench.assertSettled("a second row where the link was unique");
      await bench.write(
        "delete from cover where id < 5",
        "update cover set book_id = 25 where id in (6, 7, 108)",
      );
      await bench.assertSettled("rows move and go while the link is not unique");
      await bench.write(
        "delete from cover a using cover b where a.book_id = b.book_id and a.id > b.id",
        "create unique index again on cover (book_id)",
      );
      await bench.assertSettled("the link is unique again");
      await bench.write(
        "update cover set book_id = book_id + 1000",
        "update cover set book_id = book_id - 999 where id % 2 = 0",
      );
      await bench.assertSettled("links move to and fro");

      // The identity is by that index, then by nothing, then by the whole row again.
      await bench.write(
        "create unique index wide on cover (book_id, id)",
        "alter table cover replica identity using index wide",
      );
      await bench.assertSettled("another replica identity, which lacks a link column");
      await bench.write(
        "update cover set book_id = 29, book_code = 'c1' where id = 10",
        "delete from cover where id = 12",
      );
      await bench.assertSettled("changes under it");
      await bench.write(
        "drop index wide",
        "update cover set book_id = 30 where id = 10",
        "delete from cover where id = 14",
      );
      await bench.assertSettled("its index is dropped, which leaves no identity");
    });

    it("while nothing runs", async () => {
      await using bench = await Bench.open(major, TABLES, NODES);
      await bench.runOnce();
      await bench.write(
        "drop index one_cover",
        "insert into cover values (200, 3, 'c3', 'two'), (0, 4, 'c4', 'first')",
      );
      await bench.runOnce();
      await bench.assertEqual("after the index was dropped");
      await bench.write("delete from cover where id in (3, 4)", "create unique index on cover (book_id)");
      await bench.runOnce();
      await bench.assertEqual("after it was made again");
    });
  });
}
