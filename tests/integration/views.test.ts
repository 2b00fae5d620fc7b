import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { parseLsn } from "../../src/replication/lsn.ts";
import { eventually } from "../support/eventually.ts";
import { Bench } from "./support.ts";

const TABLES = `
  create table book (id int primary key, title text);
  create table review (id int primary key, book_id int, stars int, note text);
  create table person (id int primary key, name text);
  create table author (book_id int, person_id int, primary key (book_id, person_id));
  create view rating as select book_id, count(*) as reviews, avg(stars) as stars from review group by book_id;
  create view wrote as select a.book_id, p.id as person_id, p.name from author a join person p on p.id = a.person_id;
  create view best as select book_id, id, stars, rank() over (partition by book_id order by stars desc, id) as place
    from review;
  create view first_best as select b.book_id, b.stars, r.note from best b join review r using (id) where b.place = 1;
  insert into book select g, 'book ' || g from generate_series(1, 40) g;
  insert into review select g, 1 + g % 30, g % 5, 'note' from generate_series(1, 90) g;
  insert into person select g, 'person ' || g from generate_series(1, 10) g;
  insert into author select 1 + g % 35, 1 + g % 7 from generate_series(1, 50) g on conflict do nothing;
`;

const child = (view: string, label: string, more = "") =>
  `  - {table: ${view}, label: ${label}, primary_key: [book_id${more}], relationship: ` +
  `{variant: object, type: one_to_many, foreign_key: {parent: [id], child: [book_id]}}}`;

const BOOKS = `
table: book
children:
${child("rating", "rating")}
${child("wrote", "wrote", ", person_id")}`;

/** How many documents were written or deleted since the start of the run. */
const built = (bench: Bench) => {
  const last = bench.synchronizer.status().databases[0]?.indices[0];
  return (last?.indexed ?? 0) + (last?.deleted ?? 0);
};

for (const major of [17, 15] as const) {
  describe(`Views, PostgreSQL ${major}`, () => {
    it("as children: one whose rows are looked up, and one that has documents compared", async () => {
      await using bench = await Bench.open(major, TABLES, BOOKS);
      bench.start();
      await bench.assertSettled("after the load");
      const before = built(bench);
      await bench.write(
        "insert into review values (1001, 7, 5, 'new')",
        "update review set stars = 0 where id = 3",
        "update review set book_id = 8 where id = 4",
        "update review set book_id = null where id = 5",
        "delete from review where id = 6",
        "insert into author values (40, 10)",
      );
      await bench.assertSettled("rows of tables that are looked up");
      assert.ok(built(bench) - before < 20, "only the documents that were touched are built");
      await bench.write("update review set note = 'not shown' where id < 50");
      await bench.assertSettled("a column that no view uses");
      assert.ok(built(bench) - before < 20, "what is not used touches nothing");
      const compared = built(bench);
      await bench.write("update person set name = 'once' where id = 2");
      await bench.assertSettled("one row of a table on the far side of a join");
      assert.ok(built(bench) - compared < 15, "all documents are compared, and those that differ are built");
      await bench.write(
        "update person set name = upper(name) where id < 4",
        "delete from person where id = 5",
      );
      await bench.assertSettled("rows of a table on the far side of a join");
      await bench.write("update review set id = -id, book_id = book_id + 1 where id between 20 and 30");
      await bench.assertSettled("keys change");
      await bench.write("truncate review");
      await bench.assertSettled("TRUNCATE of a table below");
      await bench.write(
        "insert into review select g, g % 40, 1, '' from generate_series(1, 200) g; truncate author",
      );
      await bench.assertSettled("rows and TRUNCATE in one transaction");
    });

    it("as children: over views, with window functions", async () => {
      await using bench = await Bench.open(
        major,
        TABLES,
        `
table: book
children:
${child("best", "best", ", id")}
${child("first_best", "first")}
  - table: wrote
    label: names
    columns: [name]
    relationship: {variant: scalar, type: one_to_many, foreign_key: {parent: [id], child: [book_id]}}`,
      );
      bench.start();
      await bench.assertSettled("after the load");
      await bench.write(
        "update review set stars = stars + 10 where id % 7 = 0",
        "delete from review where id = 1",
      );
      await bench.assertSettled("rows change");
      await bench.write("update person set name = 'same'");
      await bench.assertSettled("children without a key stand in the order of their columns");
    });

    it("as a root: rows that are no documents are counted, and told of as long as there are some", async () => {
      const loose = `
        create table paper (id int, code text, title text);
        create view loose as select id, code, title from paper;
        create materialized view firm as select id, title from paper where id > 100;
        create unique index on firm (id);
        insert into paper values (1, 'a|b', 'one'), (1, 'a|b', 'two'), (1, 'a|b', 'three'), (2, null, 'x'), (null, null, 'y'), (3, 'c', 'z')`;
      await using bench = await Bench.open(major, loose, [
        "\ntable: loose\nprimary_key: [id, code]",
        "\ntable: firm\nprimary_key: [id]",
        "\ntable: loose\nprimary_key: [id]",
      ]);
      const [both, firm, byId] = bench.schema.documents.map((document) => document.index);
      const warnings = () => bench.synchronizer.status().databases[0]?.warnings ?? [];
      bench.start();
      await bench.assertSettled("after the load");
      await eventually(() => warnings().length === 2, { what: "both counts" });
      const view = `rows of "public"."loose", by the primary_key that the schema file gives it:`;
      assert.deepEqual(warnings(), [
        `The index "${both}" lacks ${view} 2 rows, in whose key there is a NULL; ` +
        String.raw`2 rows, whose key is another row's, too (of _id "a\|b|1", say).`,
        `The index "${byId}" lacks ${view} 1 row, in whose key there is a NULL; ` +
        `2 rows, whose key is another row's, too (of _id "1", say).`,
      ]);
      const told = bench.events.filter((event) => event.type === "warning").map((event) => event.message);
      assert.deepEqual(told, warnings(), "each is told once");
      await bench.stop();
      await bench.write(
        "delete from paper where id = 1 and title <> 'one'; update paper set id = 4 where id is null",
        "insert into paper values (101, null, 'firm')",
        "drop view loose; create view loose as select id, coalesce(code, '-') as code, title from paper",
      );
      await bench.runOnce();
      await bench.assertEqual("after the rows were mended");
      assert.deepEqual(warnings(), [], `nothing is told of ${firm}, and no more of the others`);
    });

    it("as a root: a child of a row without a key changes no document", async () => {
      await using bench = await Bench.open(
        major,
        `create table part (id int primary key, code int, book int);
         create view loose as select code, id from part;
         create table note (id int primary key, part int, body text);
         insert into part values (1, 10, 1), (2, null, 1);
         insert into note values (1, 1, 'a'), (2, 2, 'b')`,
        `
table: loose
primary_key: [code]
children:
  - {table: note, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [id], child: [part]}}}`,
      );
      bench.start();
      await bench.assertSettled("after the load");
      await bench.write("update note set body = 'c'");
      await bench.assertSettled("after both children changed");
      await bench.stop();
      assert.deepEqual(bench.deadLetters(), []);
    });

    it("as a root: with children, and with a parent's rows that come and go", async () => {
      const views = `
        create view top as select b.id, b.title, count(r.id) as reviews from book b left join review r on r.book_id = b.id
          group by b.id having count(r.id) <> 3;
        create view everything as select r.id as "Review", b.title, b.id as book_id from review r left join book b on b.id = r.book_id;`;
      await using bench = await Bench.open(major, TABLES + views, [
        `
table: top
primary_key: [id]
children:
${child("review", "reviews").replace(/primary_key: [^,]*, /, "")}
${child("wrote", "wrote")}`,
        "\ntable: everything\nprimary_key: [Review]",
      ]);
      bench.start();
      await bench.assertSettled("after the load");
      await bench.write("insert into review values (1001, 40, 1, ''), (1002, 40, 1, ''), (1003, 40, 1, '')");
      await bench.assertSettled("a document leaves the view");
      await bench.write(
        "update book set title = upper(title) where id % 3 = 0",
        "delete from book where id = 9",
      );
      await bench.assertSettled("rows of the root's table");
      await bench.write(
        "update review set id = id + 5000 where id < 10",
        "update book set id = 900 where id = 12",
      );
      await bench.assertSettled("keys change");
      await bench.write("update review set note = 'child' where id = 5005", "truncate book");
      await bench.assertSettled("TRUNCATE");
    });

    it("as a root: rows without a key are no documents, and of several with one the first counts", async () => {
      const tables = `
        create table a (id int primary key, k int, t text);
        create view v as select k, t from a;
        insert into a select g, g % 20, 't' || g from generate_series(1, 60) g; insert into a values (100, null, 'none')`;
      await using bench = await Bench.open(major, tables, "\ntable: v\nprimary_key: [k]", {
        bulkDocuments: 7,
      });
      bench.start();
      await bench.assertSettled("after the load");
      await bench.write("delete from a where id between 30 and 50", "update a set k = 3 where id = 100");
      await bench.assertSettled("the second becomes the first");
      await bench.write("update a set k = null where k < 10", "update a set t = '0' where id % 2 = 0");
      await bench.assertSettled("documents go");
      await bench.write("insert into a select g, g % 700, 'many' || g from generate_series(1000, 3000) g");
      await bench.assertSettled("many at once");
    });

    it("with changes while the load runs and while documents are compared", async () => {
      await using bench = await Bench.open(major, TABLES, BOOKS, { bulkDocuments: 7, loadWorkers: 2 });
      bench.start();
      const sessions = Array.from({ length: 3 }, async (_, session) => {
        for (let round = 0; round < 15; round++) {
          const at = 1 + (session * 13 + round * 7) % 40;
          await bench.write(
            `update person set name = 'session ${session} round ${round}' where id = ${1 + at % 10}`,
            `update review set book_id = ${at} where id = ${1 + (at * round) % 90};
             update book set title = 'title ${session} ${round}' where id = ${at}`,
            round % 4 === 3
              ? `delete from book where id = ${at}`
              : `insert into author values (${at}, 10) on conflict do nothing`,
          );
        }
      });
      await Promise.all(sessions);
      await bench.assertSettled("when all have written");
    });

    it("as a root: with a system column, which any UPDATE changes", async () => {
      const tables = `
        create table b (id int primary key, t text, beside text);
        alter table b replica identity full;
        create view v as select id, t, xmin::text as version from b;
        insert into b select g, 'x', 'y' from generate_series(1, 3) g`;
      await using bench = await Bench.open(major, tables, "\ntable: v\nprimary_key: [id]");
      bench.start();
      await bench.assertSettled("after the load");
      await bench.write("update b set beside = 'z' where id = 2");
      await bench.assertSettled("a column changed that the view does not show");
    });

    it("a root that goes with a change that has all compared, while the load holds its document", async () => {
      const tables = `
        create table book (id int primary key);
        create table review (id int primary key, book_id int, stars int);
        create function waiting(book_id int) returns int language plpgsql stable as $$
          begin
            if book_id = 2 then perform pg_advisory_xact_lock_shared(4); end if;
            return book_id;
          end $$;
        create view v as select id, book_id, waiting(book_id) as waited, stars from review;
        insert into book select generate_series(1, 5);
        insert into review select g, g, 1 from generate_series(1, 5) g`;
      await using bench = await Bench.open(major, tables, `\ntable: book\nchildren:\n${child("v", "v")}`);
      const lock = await bench.sql.reserve();
      await lock`select pg_advisory_lock(4)`;
      bench.start();
      await eventually(
        async () =>
          (await bench.sql`select from pg_locks where locktype = 'advisory' and not granted`).length > 0,
        { what: "the load to wait for the lock" },
      );
      await bench.write("delete from book where id = 2; update review set stars = 2 where book_id = 3");
      const [row] = await bench.sql<
        { lsn: string }[]
      >`select pg_logical_emit_message(true, 'test', '')::text as lsn`;
      const written = parseLsn(row?.lsn ?? "");
      await eventually(
        () => (bench.synchronizer.status().databases[0]?.stream.confirmed ?? 0n) >= written,
        { what: "the stream to be confirmed" },
      );
      await lock`select pg_advisory_unlock(4)`;
      lock.release();
      await bench.assertSettled("the load went on");
    });

    it("a partitioned table and one without a key below a view", async () => {
      const tables = `
        create table book (id int primary key);
        create table sale (book_id int, year int, pieces int) partition by list (year);
        create table sale_1 partition of sale for values in (1);
        create table sale_2 partition of sale for values in (2);
        create table gift (book_id int, pieces int);
        create view sold as select book_id, sum(pieces) as pieces from sale group by book_id;
        create view given as select book_id, sum(pieces) over () as pieces from gift;
        create view sold_first as select book_id, pieces from sale_1;
        insert into book select generate_series(1, 5);
        insert into sale values (1, 1, 5), (1, 2, 5), (2, 1, 5); insert into gift values (1, 1), (2, 2)`;
      await using bench = await Bench.open(
        major,
        tables,
        `
table: book
children:
${child("sold", "sold")}
${child("given", "given")}
${child("sold_first", "sold_first")}`,
      );
      bench.start();
      await bench.assertSettled("after the load");
      await bench.write(
        "update sale set year = 2, book_id = 3 where book_id = 1 and year = 1",
        "update gift set pieces = 7 where book_id = 2",
        "delete from gift where book_id = 1",
        "insert into sale values (5, 1, 1)",
      );
      await bench.assertSettled("rows change");
      await bench.write("delete from sale where book_id = 1", "insert into sale values (4, 2, 1)");
      await bench.assertSettled("rows of another partition");
    });
  });
}

describe("What a schema file says of views", () => {
  const refused = async (nodes: string, ddl = "") => {
    await using bench = await Bench.open(17, TABLES + ddl, nodes);
    try {
      await bench.runOnce();
    } catch (error) {
      assert.ok(error instanceof PgsyncError);
      return `${error.code} ${error.message} ${error.remedy}`;
    }
    return "nothing";
  };

  it("a root needs a key that the view has", async () => {
    assert.match(
      await refused("\ntable: rating"),
      /^PRIMARY_KEY_MISSING View "public"."rating" .* primary_key: \["book_id"\]/,
    );
    assert.match(
      await refused("\ntable: rating\nprimary_key: [book]"),
      /^COLUMN_MISSING View "public"."rating" has no column "book"/,
    );
  });

  it("a link needs its columns", async () => {
    const message = await refused(
      "\ntable: book\nchildren:\n  - {table: rating, relationship: {variant: object, type: one_to_one}}",
    );
    assert.match(message, /^FOREIGN_KEY_MISSING "public"."rating" is a view/);
    assert.match(message, /foreign_key: \{"parent": \["id"\], "child": \["book_id"\]\}/);
  });

  it("base tables must be there, and be tables", async () => {
    assert.match(
      await refused("\ntable: rating\nprimary_key: [book_id]\nbase_tables: [reviews]"),
      /^TABLE_MISSING .*review/,
    );
    assert.match(
      await refused("\ntable: first_best\nprimary_key: [book_id]\nbase_tables: [best]"),
      /^SCHEMA_INVALID .*"best", which is a view/,
    );
    assert.match(
      await refused(
        "\ntable: v\nprimary_key: [id]",
        "create unlogged table u (id int); create view v as select id from u",
      ),
      /^SCHEMA_UNSUPPORTED .*"u", an unlogged table/,
    );
  });
});
