/** Tables that are altered while they are followed, and while nobody follows them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Bench } from "./support.ts";

const SHOP = `
  create table author (id int primary key, name text);
  create table book (id int primary key, title text, author int references author);
  create table rating (id int primary key, book int references book, stars int);
  insert into author values (1, 'Le Guin'), (2, 'Eco');
  insert into book values (10, 'Rocannon', 1), (11, 'Baudolino', 2);
  insert into rating values (100, 10, 5), (101, 11, 4), (102, 11, 3)`;
const BOOKS = `
table: book
children:
  - {table: author, label: author, relationship: {variant: object, type: one_to_one}}
  - {table: rating, label: ratings, relationship: {variant: object, type: one_to_many}}`;

for (const major of [17, 15] as const) {
  describe(`A table that is altered, PostgreSQL ${major}`, () => {
    for (
      const [what, statements] of [
        ["a column is added, with a default", ["alter table book add pages int default 7"]],
        ["a column is added to a child", [
          "alter table rating add note text",
          "update rating set note = 'n'",
        ]],
        ["a column is dropped", ["alter table author drop name"]],
        ["a column is renamed", ["alter table author rename name to surname"]],
      ] as const
    ) {
      it(`while it is followed: ${what}`, async () => {
        await using bench = await Bench.open(major, SHOP, BOOKS);
        bench.start();
        await bench.assertSettled("after the load");
        for (const statement of statements) {
          await bench.write(statement);
          await bench.assertSettled(statement);
        }
        await bench.write("update rating set stars = stars + 1", "insert into rating values (103, 10, 1)");
        await bench.assertSettled("after further changes");
      });

      it(`while nobody follows it: ${what}`, async () => {
        await using bench = await Bench.open(major, SHOP, BOOKS);
        await bench.runOnce();
        await bench.write("update rating set book = 10 where id = 101");
        for (const statement of statements) await bench.write(statement);
        await bench.write("update rating set book = 10 where id = 102");
        await bench.runOnce();
        await bench.assertEqual(what);
        assert.deepEqual(bench.deadLetters(), []);
      });
    }
  });
}
