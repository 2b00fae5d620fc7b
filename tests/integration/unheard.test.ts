/** Changes that the stream does not carry, though everything looks the same before and after them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { parseLsn } from "../../src/replication/lsn.ts";
import { eventually } from "../support/eventually.ts";
import { databasesOf, ownPostgres } from "../support/postgres.ts";
import { Vandal } from "../verify/damage.ts";
import { Bench } from "./support.ts";

const LEAVES = `
  create table r (id int primary key, t text) partition by range (id);
  create table r1 partition of r for values from (0) to (10);
  create table r2 partition of r for values from (10) to (20) partition by range (id);
  create table r21 partition of r2 for values from (10) to (15);
  insert into r values (1, 'a'), (11, 'b')`;

const SHOP = `
  create table book (id int primary key, title text);
  create table rating (id int primary key, book int references book, stars int);
  insert into book values (10, 'Rocannon'), (11, 'Baudolino');
  insert into rating values (100, 10, 5), (101, 11, 4), (102, 11, 3)`;
const BOOKS = `
table: book
children:
  - {table: rating, label: ratings, relationship: {variant: object, type: one_to_many}}`;

const OPERATIONS = "insert, update, delete, truncate";

/** Each is one transaction, so that no look can come between. */
const CASES: readonly {
  readonly what: string;
  readonly ddl: string;
  readonly nodes: string;
  readonly allTables?: boolean;
  readonly statement: (publication: string) => string;
}[] = [
  {
    what: "a partition that is detached, changed and attached again",
    ddl: LEAVES,
    nodes: "table: r",
    statement: () =>
      "alter table r detach partition r1; update r1 set t = 'changed'; " +
      "alter table r attach partition r1 for values from (0) to (10)",
  },
  {
    what: "a partition below one that is detached and attached again",
    ddl: LEAVES,
    nodes: "table: r",
    statement: () =>
      "alter table r detach partition r2; update r21 set t = 'changed'; " +
      "alter table r attach partition r2 for values from (10) to (20)",
  },
  {
    what: "a table that is out of the publication for a while",
    ddl: SHOP,
    nodes: BOOKS,
    statement: (publication) =>
      `alter publication ${publication} drop table rating; update rating set stars = 9; ` +
      `delete from rating where id = 102; alter publication ${publication} add table rating`,
  },
  {
    what: "updates that are not published for a while",
    ddl: SHOP,
    nodes: BOOKS,
    statement: (publication) =>
      `alter publication ${publication} set (publish = 'insert'); update rating set stars = 9; ` +
      `alter publication ${publication} set (publish = '${OPERATIONS}')`,
  },
  {
    what: "a table that is unlogged for a while, among all tables",
    ddl: SHOP,
    nodes: BOOKS,
    allTables: true,
    statement: () =>
      "alter table rating set unlogged; update rating set stars = 9; alter table rating set logged",
  },
];

describe("What the stream was not to tell of is found", () => {
  for (const { what, ddl, nodes, allTables, statement } of CASES) {
    for (const followed of [true, false]) {
      it(`${what}, while it is ${followed ? "" : "not "}followed`, async () => {
        await using bench = await Bench.open(17, ddl, nodes);
        const publication = `pgsync_${bench.database.name}`;
        if (allTables === true) {
          await bench.write(
            `create publication ${publication} for all tables with (publish_via_partition_root = true)`,
          );
        }
        if (followed) {
          bench.start();
          await bench.assertSettled("after the load");
        } else await bench.runOnce();
        await bench.write(statement(publication));
        if (followed) await bench.settled();
        else await bench.runOnce();
        await bench.assertEqual(what);
      });
    }
  }

  it("a publication that somebody has made anew is a loss of the slot: a run halts, or makes another", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    await bench.runOnce();
    const publication = `pgsync_${bench.database.name}`;
    await bench.write(
      `drop publication ${publication}; update rating set stars = 9; ` +
        `create publication ${publication} for table book, rating with (publish_via_partition_root = true)`,
    );
    for (const changes of [{ bootstrap: false }, { onSlotLoss: "halt" }] as const) {
      const thrown = await bench.runOnce(changes).catch((error: unknown) => error);
      assert.ok(thrown instanceof PgsyncError, String(thrown));
      assert.equal(thrown.code, "PUBLICATION_MISSING", thrown.message);
      assert.match(thrown.message, /after the position of the slot/);
    }
    await bench.runOnce({ bootstrap: false, onSlotLoss: "resync" });
    await bench.assertEqual("with another slot");
  });
});

describe("A transaction that wrote before its table was published, and commits when that was seen, is found", () => {
  const unpublished = async (bench: Bench, work: () => Promise<unknown>) => {
    const publication = `pgsync_${bench.database.name}`;
    await bench.write(`alter publication ${publication} drop table rating`);
    await work();
    await bench.write(`alter publication ${publication} add table rating`);
  };

  for (const followed of [true, false]) {
    it(`while it is ${followed ? "" : "not "}followed`, async () => {
      // A look at the start, and others when the stream shows that a table was altered.
      const nodes = BOOKS.replace("table: book", "table: book\ncolumns: [id, title]");
      await using bench = await Bench.open(17, SHOP, nodes, { catalogIntervalMs: 3_600_000 });
      const look = async (number: number) => {
        const before = Date.now();
        await bench.write(
          `alter table book add note${number} int`,
          `insert into book values (${number}, 'A')`,
        );
        await eventually(() => {
          const [status] = bench.synchronizer.status().databases;
          return status !== undefined && (status.tablesLookedAt?.getTime() ?? 0) >= before;
        }, { what: "a look", interval: 5 });
        const [row] = await bench.sql<{ lsn: string }[]>`
          select pg_logical_emit_message(true, 'test', '')::text as lsn`;
        await eventually(() => {
          const [status] = bench.synchronizer.status().databases;
          return status !== undefined && status.stream.confirmed >= parseLsn(row?.lsn ?? "");
        }, { what: "all that it has found to be carried out", interval: 5 });
      };
      if (followed) {
        bench.start();
        await eventually(() => bench.synchronizer.status().ready, { what: "the load", interval: 5 });
      } else await bench.runOnce();
      const writer = await bench.sql.reserve();
      await writer`begin`;
      await unpublished(bench, () => writer`update rating set stars = 9`);
      if (!followed) bench.start();
      await look(1);
      await writer`commit`;
      writer.release();
      await look(2);
      await bench.stop();
      await bench.assertEqual("after the commit");
    });
  }

  it("where the run ends meanwhile, and where a publication of PostgreSQL 18 was made anew", async () => {
    // Which finds no fault in that, as those before it do.
    const server = await ownPostgres({ major: 18, settings: { max_prepared_transactions: "2" } });
    await using bench = await Bench.open(databasesOf(server), SHOP, BOOKS);
    await bench.runOnce();
    const publication = `pgsync_${bench.database.name}`;
    const writer = await bench.sql.reserve();
    await bench.write(`drop publication ${publication}`);
    await writer`begin`;
    await writer`update rating set stars = 9`;
    await bench.write(
      `create publication ${publication} for table book, rating with (publish_via_partition_root = true)`,
    );
    await writer`prepare transaction 'late'`;
    writer.release();
    await bench.runOnce({ bootstrap: false });
    bench.start({ bootstrap: false });
    await bench.assertSettled("before the commit");
    await bench.write("commit prepared 'late'");
    await bench.assertSettled("after the commit");
    await bench.stop();
  });
});

describe("What had another name between two looks is found", () => {
  const swap = "alter table book rename title to x; alter table book rename other to title; " +
    "alter table book rename x to other";
  it("a column", async () => {
    const ddl = `${SHOP}; alter table book add other text default 'other'`;
    // One look at the start, and no other.
    await using bench = await Bench.open(17, ddl, BOOKS, { catalogIntervalMs: 3_600_000 });
    bench.start();
    await eventually(() => {
      const { ready, databases: [database] } = bench.synchronizer.status();
      return ready && database?.tablesLookedAt instanceof Date;
    }, { what: "the load and the look", interval: 5 });
    const changes = bench.events.length;
    await bench.write(swap, "update book set other = 'changed'");
    await eventually(
      () => bench.events.slice(changes).some((event) => event.type === "batch" && event.changes > 0),
      { what: "the change to be carried out", interval: 5 },
    );
    await bench.stop();
    await bench.write(swap);
    await bench.runOnce();
    await bench.assertEqual("with its name again");
  });

  it("what changes no value costs nothing", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    await bench.runOnce();
    // A comparison would bring it back.
    await new Vandal(bench).remove("11");
    for (
      const statements of [
        [
          "alter table book alter title set not null, alter title set default 'x', alter title set statistics 10",
          "grant select on book, rating to public",
          "alter table rating alter stars set default 1",
          "create index on rating (stars)",
          "vacuum analyze",
        ],
        ["grant select on book, rating to public", "alter table rating alter stars set default 2"],
      ]
    ) {
      await bench.write(...statements);
      await bench.runOnce();
    }
    await assert.rejects(bench.assertEqual("without a comparison"), /document "11" is missing/);
    await bench.write("alter table rating add note text");
    await bench.runOnce();
    await bench.assertEqual("with one");
  });
});
