import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refreshAll } from "../../src/sync/source/refresh_run.ts";
import { assertSameDocuments, indexedDocuments } from "../oracle/compare.ts";
import { expectedDocuments } from "../oracle/documents.ts";
import { eventually } from "../support/eventually.ts";
import { Bench } from "./support.ts";

const TABLES = `
  create table book (id int primary key, title text);
  create table review (id int primary key, book_id int, stars int);
  create materialized view rating as select book_id, count(*) as reviews, avg(stars) as stars from review group by book_id;
  create materialized view shelf as select b.id, b.title, r.reviews from book b left join rating r on r.book_id = b.id;
  create view shown as select id, upper(title) as title, reviews from shelf where title <> '';
  insert into book select g, 'book ' || g from generate_series(1, 40) g;
  insert into review select g, 1 + g % 30, g % 5 from generate_series(1, 90) g;
  create unique index on rating (book_id);
`;
const BOOKS = `
table: book
children:
  - table: rating
    primary_key: [book_id]
    relationship: {variant: object, type: one_to_one, foreign_key: {parent: [id], child: [book_id]}}`;
const SHELF = `
table: shelf
primary_key: [id]
children:
  - {table: review, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [id], child: [book_id]}}}`;
const SHOWN = "\ntable: shown\nprimary_key: [id]";

/** Waits until the indices hold what the views do, which they were given by a refresh that nobody tells of. */
const equals = (bench: Bench, what: string) =>
  eventually(async () => {
    for (const document of bench.schema.documents) {
      const found = await indexedDocuments(bench.searchUrl, document.index);
      assertSameDocuments(await expectedDocuments(bench.sql, document), found, what);
    }
    return true;
  }, { what, timeout: 30_000, interval: 100 });

const warnings = (bench: Bench) =>
  bench.events.flatMap((event) => event.type === "warning" ? [event.message] : []);

for (const major of [17, 15] as const) {
  describe(`Materialised views, PostgreSQL ${major}`, () => {
    it("are refreshed before the load, and by the interval, each after those below it", async () => {
      await using bench = await Bench.open(major, TABLES, [BOOKS, SHELF, SHOWN], {
        viewRefreshSeconds: 1,
        catalogIntervalMs: 200,
      });
      await bench.write(
        "insert into review values (1001, 40, 5)",
        "update book set title = 'new' where id = 3",
      );
      bench.start();
      await bench.assertSettled("after the load");
      const reviews = async () =>
        (await bench.sql<{ reviews: string }[]>`select coalesce(sum(reviews), 0) as reviews from shelf`)[0]
          ?.reviews;
      assert.equal(await reviews(), "91", "what is below was refreshed first");
      await bench.write("delete from review where id < 50", "delete from book where id > 35");
      await eventually(async () => await reviews() === "41", { what: "a refresh by the interval" });
      await equals(bench, "what was refreshed reaches the index");
      await bench.write("truncate review, book");
      await eventually(async () => await reviews() === "0", { what: "another refresh" });
      await equals(bench, "an empty view");
    });

    it("that others refresh are noticed, in place and concurrently", async () => {
      await using bench = await Bench.open(major, TABLES, [BOOKS, SHELF, SHOWN], {
        viewRefreshSeconds: 0,
        catalogIntervalMs: 200,
      });
      bench.start();
      await bench.assertSettled("after the load");
      await bench.write(
        "update review set stars = 5, book_id = 7 where id > 60",
        "update book set title = 'x'",
      );
      await bench.assertSettled("base tables alone change nothing");
      await bench.write("refresh materialized view concurrently rating");
      await equals(bench, "concurrently");
      await bench.write("refresh materialized view shelf");
      await equals(bench, "in place");
      await bench.write(
        "update review set book_id = 8 where book_id = 9",
        "refresh materialized view rating",
      );
      await equals(bench, "once more");
      await bench.stop();
      await bench.write(
        "delete from review where id % 2 = 0",
        "refresh materialized view concurrently rating",
      );
      await bench.write("refresh materialized view shelf");
      bench.start();
      await equals(bench, "refreshed while nobody looked");
      await bench.write("update review set book_id = 11 where book_id = 12");
      const statements: string[] = [];
      await refreshAll(bench.options, (line) => statements.push(line));
      assert.deepEqual(statements, [
        'REFRESH MATERIALIZED VIEW CONCURRENTLY "public"."rating";',
        'REFRESH MATERIALIZED VIEW "public"."shelf";',
      ]);
      await equals(bench, "by command");
    });

    it("are refreshed by a run that ends by itself", async () => {
      await using bench = await Bench.open(major, TABLES, [BOOKS, SHELF, SHOWN]);
      await bench.runOnce();
      await bench.assertEqual("the first run");
      await bench.write("update review set book_id = 5 where id % 3 = 0", "delete from book where id = 4");
      await bench.runOnce();
      const [row] = await bench.sql<{ reviews: string }[]>`select reviews from rating where book_id = 5`;
      assert.ok(Number(row?.reviews) >= 30);
      await bench.assertEqual("the second run");
    });

    it("a refresh that fails is told and tried again, and ends nothing", async () => {
      await using bench = await Bench.open(
        major,
        `create table number (id int primary key, n int); insert into number values (1, 1);
         create materialized view inverse as select id, 12 / n as n from number`,
        "\ntable: inverse\nprimary_key: [id]",
        { viewRefreshSeconds: 1, catalogIntervalMs: 200 },
      );
      bench.start();
      await bench.assertSettled("after the load");
      await bench.write("insert into number values (2, 0)");
      await eventually(() => warnings(bench).some((text) => text.includes("division by zero")), {
        what: "the failure to be told",
      });
      await bench.assertSettled("the view holds what it held");
      await bench.write("update number set n = 3");
      await eventually(async () => (await bench.sql`select from inverse`).length === 2, {
        what: "the next refresh",
      });
      await equals(bench, "after it");
    });

    it("without the right to refresh, refreshes by others are noticed", async () => {
      await using bench = await Bench.open(major, TABLES, [SHELF], {
        viewRefreshSeconds: 1,
        catalogIntervalMs: 200,
      });
      const role = `reader_${bench.database.name}`;
      await bench.write(
        `create role ${role} login replication; grant select on all tables in schema public to ${role};
         grant create on database ${bench.database.name} to ${role}; alter table review owner to ${role}`,
      );
      try {
        bench.start({ postgres: { ...bench.options.postgres, user: role } });
        await bench.assertSettled("after the load");
        assert.match(
          warnings(bench).join("\n"),
          /may not refresh "public"."rating".*Have "postgres" run: REFRESH MATERIALIZED VIEW CONCURRENTLY/,
        );
        await bench.write(
          "delete from review where id < 50; refresh materialized view rating; refresh materialized view shelf",
        );
        await equals(bench, "refreshed by the owner");
        await assert.rejects(
          refreshAll({ ...bench.options, postgres: { ...bench.options.postgres, user: role } }, () => {}),
          /may not refresh/,
        );
      } finally {
        await bench.stop();
        await bench.write(`alter table review owner to postgres; drop owned by ${role}; drop role ${role}`);
      }
    });

    it("as a root with a key that is not unique, or partly NULL", async () => {
      await using bench = await Bench.open(
        major,
        `create table a (id int primary key, k int, t text);
         create materialized view m as select k, t from a;
         create materialized view u as select k, min(t) as t from a group by k;
         create unique index on u (k);
         insert into a select g, nullif(g % 700, 3), 'text ' || g from generate_series(1, 3000) g; analyze`,
        ["\ntable: m\nprimary_key: [k]", "\ntable: u\nprimary_key: [k]"],
        { viewRefreshSeconds: 0, catalogIntervalMs: 200, loadChunkRows: 100 },
      );
      bench.start();
      await bench.assertSettled("after the load");
      await bench.write(
        "update a set k = 5000 - id where id % 5 = 0",
        "refresh materialized view m",
        "refresh materialized view concurrently u",
      );
      await equals(bench, "after a refresh");
    });
  });
}
