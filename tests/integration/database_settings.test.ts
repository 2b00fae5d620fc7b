/** Settings of the database that would hurt, were they those of our sessions. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Bench } from "./support.ts";

const TABLES = `
  create table book (id int primary key, title text);
  create table review (id int primary key, book_id int references book, stars int);
  alter table book enable row level security;
  insert into book select g, 'book ' || g from generate_series(1, 500) g;
  insert into review select g, 1 + g % 500, g % 5 from generate_series(1, 900) g`;
const NODES = `
table: book
children:
  - {table: review, label: reviews, relationship: {variant: object, type: one_to_many}}`;
const SETTINGS = [
  "statement_timeout = '1ms'",
  "idle_in_transaction_session_timeout = '1ms'",
  "lock_timeout = '1ms'",
  "default_transaction_isolation = 'serializable'",
  "default_transaction_read_only = on",
  "default_transaction_deferrable = on",
  "row_security = on",
  "search_path = nowhere",
  "client_min_messages = 'error'",
];

for (const major of [17, 15] as const) {
  describe(`Settings of the database, PostgreSQL ${major}`, () => {
    it("do not hurt: limits, isolation, read-only, search path", async () => {
      await using bench = await Bench.open(major, TABLES, NODES);
      // The application's own sessions are there before.
      await Promise.all(Array.from({ length: 4 }, () => bench.sql`select pg_sleep(0.2)`));
      for (const setting of SETTINGS) {
        await bench.write(`alter database ${bench.database.name} set ${setting}`);
      }
      bench.start();
      await bench.assertSettled("after the load");
      await bench.write(
        "update book set title = 'new' where id % 2 = 0",
        "delete from review where id < 100",
      );
      await bench.assertSettled("after changes");
      await bench.write("alter table book add column pages int default 7");
      await bench.assertSettled("after a look at the catalog");
      await bench.stop();
      assert.deepEqual(bench.events.filter(({ type }) => type === "retry" || type === "warning"), []);
    });
  });
}

describe("transaction_timeout, which PostgreSQL 17 has and no session can be begun with", () => {
  it("is told of", async () => {
    await using bench = await Bench.open(17, TABLES, NODES);
    await bench.write(`alter database ${bench.database.name} set transaction_timeout = '30s'`);
    bench.start();
    await bench.assertSettled("after the load");
    const [warning] = bench.synchronizer.status().databases[0]?.warnings ?? [];
    assert.match(warning ?? "", /^transaction_timeout is 30s for the role "postgres": /);
  });
});
