import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { planRun } from "../../src/sync/setup/plan_run.ts";
import { Bench } from "./support.ts";

const NODES = `
table: book
columns: [id]
children:
  - {table: rating, label: ratings, columns: [id, note], relationship: {variant: object, type: one_to_many}}`;
const BOOKS = "create table book (id int primary key); insert into book values (1), (2)";

function code(expected: string): (thrown: unknown) => boolean {
  return (thrown) => {
    assert.ok(thrown instanceof PgsyncError, String(thrown));
    assert.equal(thrown.code, expected, thrown.message);
    return true;
  };
}

async function identityOf(bench: Bench, table: string): Promise<unknown> {
  const [row] = await bench.sql`select relreplident from pg_class where oid = ${table}::regclass`;
  return row?.["relreplident"];
}

for (const major of [17, 15] as const) {
  describe(`Replica identity, PostgreSQL ${major}`, () => {
    it("is told by plan with its reason, and set by bootstrap to a fitting unique index", async () => {
      await using bench = await Bench.open(
        major,
        `${BOOKS};
         create table rating (id int primary key, book_id int not null references book, seq int not null, note text);
         -- None of these may serve: one holds NULLs, one has a predicate, one an expression, one is checked late.
         alter table rating add column maybe int;
         create unique index on rating (book_id, maybe);
         create unique index on rating (book_id, seq) where seq > 0;
         create unique index on rating (book_id, (seq + 0));
         alter table rating add unique (seq, book_id) deferrable;
         create unique index fitting on rating (book_id, seq, id);
         insert into rating values (1, 1, 1, 'x'), (2, 1, 2, 'y')`,
        NODES,
      );
      const [plan] = (await planRun(bench.options)).databases;
      assert.deepEqual(plan?.replicaIdentities, [{
        table: '"public"."rating"',
        columns: ["book_id"],
        reason:
          'the old value of "book_id" tells which document a row of ratings belonged to before it was deleted or moved',
        satisfied: false,
        sql: 'ALTER TABLE "public"."rating" REPLICA IDENTITY USING INDEX "fitting"',
      }]);
      bench.start();
      await bench.assertSettled("after the load");
      assert.equal(await identityOf(bench, "rating"), "i");
      await bench.write("update rating set book_id = 2 where id = 1");
      await bench.assertSettled("a row moves");
      // The old row holds the index's columns only: what it leaves out must not be taken for NULL.
      await bench.write("update rating set seq = 7, note = null where id = 2");
      await bench.assertSettled("a column of the index, that no document shows, and one outside become NULL");
      await bench.write("update rating set note = 'z' where id = 2", "delete from rating where id = 1");
      await bench.assertSettled("a row goes");
    });

    it("is the whole row where the primary key is deferrable", async () => {
      await using bench = await Bench.open(
        major,
        `create table book (id int primary key deferrable, t text); insert into book values (1, 'a'), (2, 'b')`,
        "table: book",
      );
      bench.start();
      await bench.assertSettled("after the load");
      assert.equal(await identityOf(bench, "book"), "f");
      await bench.write(
        "update book set id = 3 - id",
        "update book set id = 9 where id = 2",
        "delete from book where id = 1",
      );
      await bench.assertSettled("keys were swapped, one changed, a row went");
    });

    it("is checked at each start, and halts a run under way when it is taken away", async () => {
      await using bench = await Bench.open(
        major,
        `${BOOKS}; create table rating (id int primary key, book_id int references book, note text);
         insert into rating values (1, 1, 'x')`,
        NODES,
      );
      await bench.runOnce();
      bench.start({ bootstrap: false });
      await bench.settled();
      await bench.write("alter table rating replica identity default", "update rating set book_id = 2");
      assert.ok(code("REPLICA_IDENTITY")(await bench.failure()));
      await assert.rejects(bench.runOnce({ bootstrap: false }), code("REPLICA_IDENTITY"));
      // The change that came without its old value is still ahead in the stream.
      await bench.write("alter table rating replica identity full");
      bench.start({ bootstrap: false });
      await bench.assertSettled("mended by hand");
      await bench.stop();

      bench.start();
      await bench.settled();
      await bench.write("alter table rating replica identity default", "update rating set book_id = 1");
      await bench.assertSettled("mended by the run itself, which may");
      assert.equal(await identityOf(bench, "rating"), "f");
    });

    it("by an index is not enough on a partitioned table: bootstrap sets the whole row instead", async () => {
      await using bench = await Bench.open(
        major,
        `${BOOKS};
         create table rating (id int, year int, book_id int not null references book, note text,
           primary key (id, year), constraint link unique (id, year, book_id)) partition by list (year);
         create table rating_2020 partition of rating for values in (2020);
         alter table rating replica identity using index link;
         alter table rating_2020 replica identity using index rating_2020_id_year_book_id_key;
         insert into rating values (1, 2020, 1, 'x')`,
        NODES,
      );
      await assert.rejects(bench.runOnce({ bootstrap: false }), code("REPLICA_IDENTITY"));
      bench.start();
      await bench.assertSettled("after the load");
      assert.equal(await identityOf(bench, "rating") + String(await identityOf(bench, "rating_2020")), "ff");
      await bench.write(
        "create table rating_2021 partition of rating for values in (2021)",
        "insert into rating values (2, 2021, 1, 'y')",
        "update rating set book_id = 2",
      );
      await bench.assertSettled("rows move, one of them in a partition made later");
      // The stream describes a new partition's rows by the identity of the root.
      await bench.write(
        "alter table rating replica identity using index link",
        "create table rating_2022 partition of rating for values in (2022)",
        "insert into rating values (3, 2022, 1, 'z')",
        "update rating set book_id = 2 where id = 3",
      );
      await bench.assertSettled("the identity became an index again, and was mended");
      assert.equal(await identityOf(bench, "rating"), "f");
    });

    it("cannot carry a generated column, so one that joins a node is refused", async () => {
      await using bench = await Bench.open(
        major,
        `${BOOKS}; create table rating (id int primary key, book_id int generated always as (id % 10) stored, note text)`,
        NODES.replace(
          "type: one_to_many}",
          "type: one_to_many, foreign_key: {parent: [id], child: [book_id]}}",
        ),
      );
      await assert.rejects(bench.runOnce(), code("SCHEMA_UNSUPPORTED"));
    });
  });
}
