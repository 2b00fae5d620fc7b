import { describe, it } from "node:test";
import { testCases } from "./cases.ts";
import { Bench } from "./support.ts";

const SHELVES = `
  create table shelf (id int primary key, name text);
  create table book (id int primary key, shelf_id int references shelf on delete cascade, place int unique deferrable, title text);
  insert into shelf select g, 's' || g from generate_series(1, 5) g;
  insert into book select g, 1 + g % 5, g, 'b' || g from generate_series(1, 20) g`;
const TREE = `
table: shelf
children:
  - {table: book, label: books, relationship: {variant: object, type: one_to_many}}`;

testCases("Duplicates and order", [
  {
    name: "one_to_one with several rows: the first by primary key",
    tables: `
      create table a (id int primary key, t text); create table b (id int primary key, a_id int references a, t text);
      insert into a values (1, 'a'), (2, 'b'), (3, 'c');
      insert into b values (5, 1, 'later'), (4, 1, 'first'), (9, 2, 'only')`,
    nodes: `
table: a
children:
  - {table: b, relationship: {variant: object, type: one_to_one}}
  - {table: b, label: scalar, columns: [t], relationship: {variant: scalar, type: one_to_one}}`,
    changes: {
      "one comes before it": "insert into b values (1, 1, 'new first')",
      "one that is not shown changes": "update b set t = 'unseen' where id = 5",
      "the shown one goes": "delete from b where id = 1",
      "the shown one moves": "update b set a_id = 3 where id = 4",
      "the order changes": "update b set id = -1 where id = 9; insert into b values (-2, 2, 'before')",
      "all go": "delete from b",
    },
  },
  {
    name: "rows that come, go, move and return within one transaction and over several",
    tables: SHELVES,
    nodes: [
      TREE,
      `
table: book
children:
  - {table: shelf, relationship: {variant: object, type: one_to_one}}`,
    ],
    changes: {
      "to another document and back":
        "update book set shelf_id = 2 where id = 5; update book set shelf_id = 1 where id = 5",
      "to another, changed, and back":
        `update book set shelf_id = 3 where id = 5; update book set title = 'seen' where id = 5;
        update book set shelf_id = 4 where id = 5; update book set shelf_id = 1 where id = 5`,
      "deleted and inserted with the same key":
        "delete from book where id = 6; insert into book values (6, 4, 6, 'again')",
      "a root deleted with its children, and inserted with the same key": `delete from shelf where id = 1;
        insert into shelf values (1, 'again'); insert into book values (5, 1, 5, 'back')`,
      "inserted and deleted":
        "insert into shelf values (9, 'x'); insert into book values (99, 9, 99, 'x'); delete from shelf where id = 9",
      "inserted, deleted, inserted":
        "insert into shelf values (9, 'x'); delete from shelf where id = 9; insert into shelf values (9, 'y')",
      "two unique values change places":
        "set constraints all deferred; update book set place = 27 - place where id in (7, 6, 20)",
      "two primary keys change places":
        `update book set id = 1000 where id = 7; update book set id = 7 where id = 8; update book set id = 8 where id = 1000`,
      "two roots' keys change places":
        `insert into shelf values (100, 'x'); update book set shelf_id = 100 where shelf_id = 2;
        update shelf set name = 'two' where id = 2; update book set shelf_id = 2 where shelf_id = 3; update book set shelf_id = 3 where shelf_id = 100; delete from shelf where id = 100`,
      "undone by a savepoint": `do $$ begin
          update book set shelf_id = 5;
          begin
            delete from shelf where id < 5; update book set title = 'lost';
            raise exception 'undo';
          exception when raise_exception then null;
          end;
          update book set title = 'kept' where id = 7;
        end $$`,
    },
  },
]);

for (const major of [17, 15] as const) {
  describe(`Transactions in one batch, PostgreSQL ${major}`, () => {
    it("leave each document as the last of them does, whoever wrote the row", async () => {
      await using bench = await Bench.open(major, SHELVES, TREE);
      await bench.runOnce();
      // Written while nobody follows, so that they come at once.
      for (let round = 0; round < 40; round++) {
        const id = 1 + round % 3;
        await bench.write(
          `update book set shelf_id = ${1 + round % 5}, title = 'round ${round}' where id = ${id}`,
          round % 7 === 0 ? `delete from book where id = ${id}` : "select 1",
          round % 7 === 1
            ? "insert into book values (1, 2, 1, 'new') on conflict (id) do update set shelf_id = 3"
            : "select 1",
          `update shelf set name = 'round ${round}' where id = ${1 + round % 5}`,
        );
      }
      await bench.write("delete from shelf where id = 4", "insert into shelf values (4, 'again')");
      bench.start();
      await bench.assertSettled("after all of them");
    });

    it("of many sessions on the same rows end as the tables do", async () => {
      await using bench = await Bench.open(major, SHELVES, TREE);
      bench.start();
      await bench.settled();
      const sessions = Array.from({ length: 4 }, async (_, session) => {
        for (let round = 0; round < 60; round++) {
          const [id, to] = [1 + (round + session) % 4, 1 + (round * 3 + session) % 5];
          await bench.write(
            `update book set shelf_id = ${to}, title = '${session} ${round}' where id = ${id}`,
            `update book set shelf_id = ${
              1 + to % 5
            } where id = ${id}; update book set shelf_id = ${to} where id = ${id}`,
          );
        }
      });
      await Promise.all(sessions);
      await bench.assertSettled("when all have written");
    });
  });
}
