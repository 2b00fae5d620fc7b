/** Tables that are altered while they are followed, and while nobody follows them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { indexedDocuments } from "../oracle/compare.ts";
import { eventually } from "../support/eventually.ts";
import { Vandal } from "../verify/damage.ts";
import { Bench } from "./support.ts";

const SHOP = `
  create type mood as enum ('sad', 'glad');
  create table author (id int primary key, name text, mood mood default 'sad');
  create table book (id int primary key, title text, price numeric(8,2), author int references author);
  create table rating (id int primary key, book int references book, stars int);
  insert into author values (1, 'Le Guin'), (2, 'Eco');
  insert into book values (10, 'Rocannon', 7.5, 1), (11, 'Baudolino', 12, 2);
  insert into rating values (100, 10, 5), (101, 11, 4), (102, 11, 3)`;
const BOOKS = `
table: book
children:
  - {table: author, label: author, relationship: {variant: object, type: one_to_one}}
  - {table: rating, label: ratings, relationship: {variant: object, type: one_to_many}}`;

/** How many documents have been built again for all roots: bulk requests of the stream that hold both books. */
function comparisons(bench: Bench, from: number): number {
  return bench.events.slice(from).filter((event) =>
    event.type === "bulk" && event.source === "stream" && event.indexed >= 2
  ).length;
}

/** Refuses anything but our error of this code, with this in its sentence or remedy. */
function fault(code: string, ...words: readonly RegExp[]): (thrown: unknown) => true {
  return (thrown) => {
    assert.ok(thrown instanceof PgsyncError, String(thrown));
    assert.equal(thrown.code, code, thrown.message);
    for (const word of words) assert.match(`${thrown.message} ${thrown.remedy}`, word);
    return true;
  };
}

for (const major of [17, 15] as const) {
  describe(`A table that is altered, PostgreSQL ${major}`, () => {
    for (
      const [what, statements] of [
        ["columns come", [
          "alter table book add pages int default 7",
          "alter table rating add note text",
          "update rating set note = 'n'",
        ]],
        ["columns go, or have other names", [
          "alter table author drop name",
          "alter table rating rename stars to points",
          "alter table author add name text default 'new'",
        ]],
        ["the columns that join two tables have other names", [
          "alter table rating rename book to volume",
          "update rating set volume = 10 where id = 101",
          "alter table book rename author to writer",
          "update book set writer = 1",
        ]],
        ["the columns that join two tables change names with others", [
          "alter table rating add other int default 10",
          "alter table rating rename book to x; alter table rating rename other to book; alter table rating rename x to other",
          "update rating set other = 10 where id = 101",
        ]],
        ["types change, of values, keys and links", [
          "alter table book alter price type numeric(8,1)",
          "alter table book alter title type varchar(3) using left(title, 3)",
          "alter table book alter id type bigint",
          "alter table rating alter book type bigint",
          "alter table rating alter stars type text using stars || ' stars'",
        ]],
        ["a table is rewritten with other values of the same type", [
          "alter table author alter name type text using upper(name)",
        ]],
        ["a label of an enum has another name", ["alter type mood rename value 'sad' to 'blue'"]],
        ["a child has another primary key", [
          "alter table rating drop constraint rating_pkey",
          "alter table rating add primary key (stars, id)",
          "delete from rating where id = 101",
        ]],
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
        await bench.write("update author set mood = 'glad'", "insert into author (id) values (3)");
        await bench.assertSettled("after further changes");
        assert.deepEqual(bench.synchronizer.status().databases[0]?.faults, []);
      });

      it(`while nobody follows it: ${what}`, async () => {
        await using bench = await Bench.open(major, SHOP, BOOKS);
        await bench.runOnce();
        await bench.write("delete from rating where id = 102", "update book set author = 2 where id = 10");
        for (const statement of statements) await bench.write(statement);
        await bench.write("update author set mood = 'glad'", "insert into author (id) values (3)");
        await bench.runOnce();
        await bench.assertEqual(what);
        assert.deepEqual(bench.deadLetters(), []);
      });
    }
  });
}

describe("A table that is rewritten", () => {
  it("by VACUUM FULL or CLUSTER costs nothing, followed or not", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    bench.start();
    await bench.assertSettled("after the load");
    const before = bench.events.length;
    // A comparison would bring it back.
    await new Vandal(bench).remove("11");
    await bench.write(
      "vacuum full book",
      "cluster rating using rating_pkey",
      "analyze",
      "create index on rating (book)",
    );
    await bench.settled();
    await bench.stop();
    await bench.write("vacuum full book, author, rating");
    await bench.runOnce();
    assert.equal(comparisons(bench, before), 0);
    await assert.rejects(bench.assertEqual("without a comparison"), /document "11" is missing/);
    // What the counter counts is there to be counted.
    await bench.write("alter table book alter title type text using upper(title)");
    await bench.runOnce();
    assert.equal(comparisons(bench, before), 1);
    await bench.assertEqual("in the end");
  });
});

describe("A column that the schema file names", () => {
  const NAMED = `
table: book
columns: [id, title]
children:
  - {table: rating, label: ratings, columns: [stars], relationship: {variant: object, type: one_to_many}}`;
  const advice = [/"title"/, /schema\.yaml:/, /[Mm]end the schema file/, /position is kept/];

  it("halts the run when it is dropped, which goes on when the table is mended", async () => {
    await using bench = await Bench.open(17, SHOP, NAMED);
    bench.start();
    await bench.assertSettled("after the load");
    await bench.write(
      "update rating set stars = 1",
      "alter table book drop title",
      "update rating set stars = 2",
    );
    assert.ok(fault("COLUMN_MISSING", ...advice)(await bench.failure()));
    await bench.write("alter table book add title text default 'again'");
    await bench.runOnce();
    await bench.assertEqual("after the table was mended");
  });

  for (
    const [what, statement, columns] of [
      ["dropped", "alter table book drop title", "[id]"],
      ["renamed", "alter table book rename title to name", "[id, name]"],
    ] as const
  ) {
    for (const followed of [true, false]) {
      it(`halts the run when it is ${what} while it is ${followed ? "" : "not "}followed, which goes on when the file is mended`, async () => {
        await using bench = await Bench.open(17, SHOP, NAMED);
        if (followed) bench.start();
        else await bench.runOnce();
        if (followed) await bench.assertSettled("after the load");
        await bench.write("update rating set stars = 1 where id = 100", statement);
        await bench.write("delete from rating where id = 101");
        const thrown = followed
          ? await bench.failure()
          : await bench.runOnce().catch((error: unknown) => error);
        assert.ok(fault("COLUMN_MISSING", /"title"/, /schema\.yaml:/)(thrown));
        const schema = bench.withNodes(NAMED.replace("[id, title]", columns));
        await bench.runOnce({ schema });
        await bench.assertEqual("after the file was mended", schema);
      });
    }
  }
});

describe("The primary key of a root", () => {
  it("halts the run with both types when its column gets one that prints otherwise", async () => {
    await using bench = await Bench.open(
      17,
      "create table r (id int primary key); insert into r values (1)",
      "table: r",
    );
    await bench.runOnce();
    await bench.write("alter table r alter id type text");
    const thrown = await bench.runOnce().catch((error: unknown) => error);
    assert.ok(fault("INDEX_CHANGED", /was \(id integer\) and is \(id text\)/, /teardown/)(thrown));
  });

  it("whose values have other texts, or a narrower type: what has the old ids goes", async () => {
    await using bench = await Bench.open(
      17,
      `create type color as enum ('red', 'green'); create table e (k color primary key); insert into e values ('red'), ('green');
       create table n (k bigint primary key); insert into n values (1), (9999999999)`,
      ["\ntable: e", "\ntable: n"],
    );
    await bench.runOnce();
    await bench.write(
      "alter type color rename value 'red' to 'crimson'",
      "delete from n where k > 1",
      "alter table n alter k type integer",
    );
    await bench.runOnce();
    await bench.assertEqual("after both");
    assert.deepEqual(bench.deadLetters(), []);
    bench.start();
    await bench.settled();
    await bench.write("alter type color rename value 'green' to 'lime'", "insert into n values (2)");
    const index = bench.schema.documents[0]?.index ?? "";
    await eventually(async () => {
      const found = await indexedDocuments(bench.searchUrl, index);
      return found.has("lime") && !found.has("green");
    }, { what: "the document to have its new id alone", interval: 50 });
    await bench.assertSettled("while it is followed");
    await bench.stop();
    // Loaded anew, with ids of before in the index.
    await bench.write(
      `select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()`,
      "alter type color rename value 'lime' to 'olive'",
    );
    await bench.runOnce();
    await bench.assertEqual("after another load");
  });

  for (const followed of [true, false]) {
    it(`halts the run when it is replaced while it is ${followed ? "" : "not "}followed`, async () => {
      await using bench = await Bench.open(
        17,
        "create table r (id int primary key, code int not null); insert into r values (1, 2)",
        "table: r",
      );
      const replace = "alter table r drop constraint r_pkey; alter table r add primary key (code)";
      if (followed) {
        bench.start();
        await bench.assertSettled("after the load");
      } else await bench.runOnce();
      await bench.write(replace, "insert into r values (1, 3)");
      const thrown = followed
        ? await bench.failure()
        : await bench.runOnce().catch((error: unknown) => error);
      assert.ok(
        fault(
          "INDEX_CHANGED",
          /primary key of "public"\."r"/,
          /\(id integer\)/,
          /\(code integer\)/,
          /teardown/,
        )(thrown),
      );
      await bench.write(
        "delete from r where code = 3",
        "alter table r drop constraint r_pkey; alter table r add primary key (id)",
      );
      await bench.runOnce();
      await bench.assertEqual("with its key again");
    });

    it(`may have another name, while it is ${followed ? "" : "not "}followed`, async () => {
      await using bench = await Bench.open(
        17,
        "create table r (id int primary key, t text); insert into r values (1, 'a'), (2, 'b')",
        "table: r",
      );
      if (followed) {
        bench.start();
        await bench.assertSettled("after the load");
      } else await bench.runOnce();
      await bench.write(
        "delete from r where id = 2",
        "alter table r rename id to key",
        "insert into r values (3, 'c')",
      );
      if (followed) await bench.settled();
      else await bench.runOnce();
      await bench.assertEqual("with another name");
    });
  }
});

describe("What somebody does to the setup", () => {
  for (
    const [what, code, statement] of [
      [
        "the replica identity is taken away",
        "REPLICA_IDENTITY",
        () => "alter table rating replica identity default",
      ],
      [
        "deletes are no longer published",
        "PUBLICATION_MISSING",
        (slot: string) => `alter publication ${slot} set (publish = 'insert')`,
      ],
      ["the publication is dropped", "PUBLICATION_MISSING", (slot: string) => `drop publication ${slot}`],
      [
        "only some rows are published",
        "PUBLICATION_MISSING",
        (slot: string) => `alter publication ${slot} set table book, author, rating where (stars > 3)`,
      ],
      [
        "only some columns are published",
        "PUBLICATION_MISSING",
        (slot: string) => `alter publication ${slot} set table book (id, title), author, rating`,
      ],
    ] as const
  ) {
    it(`halts the run, which goes on with bootstrap: ${what}`, async () => {
      await using bench = await Bench.open(17, SHOP, BOOKS);
      await bench.runOnce();
      bench.start({ bootstrap: false });
      await bench.assertSettled("before");
      await bench.write(statement(`pgsync_${bench.database.name}`));
      assert.ok(fault(code)(await bench.failure()));
      await bench.write("update rating set book = 10", "delete from rating where id = 100");
      await bench.runOnce();
      await bench.assertEqual(what);
    });
  }

  it("a replica identity that is taken away is set again by a run that may, and changes in between are not missed", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    bench.start();
    await bench.assertSettled("after the load");
    await bench.write(
      "alter table rating replica identity default",
      "update rating set book = 10 where id = 101",
      "delete from rating where id = 102",
    );
    await bench.assertSettled("after changes without old values");
  });
});

describe("A publication of all tables", () => {
  for (const followed of [true, false]) {
    it(`lets a table be made again, while it is ${followed ? "" : "not "}followed`, async () => {
      await using bench = await Bench.open(17, SHOP, BOOKS);
      const slot = `pgsync_${bench.database.name}`;
      await bench.write(`create publication ${slot} for all tables with (publish_via_partition_root = true)`);
      if (followed) {
        bench.start();
        await bench.assertSettled("after the load");
      } else await bench.runOnce();
      await bench.write(
        "drop table rating; create table rating (id int primary key, book int references book, stars int)",
        "insert into rating values (1, 10, 1)",
      );
      if (followed) await bench.settled();
      else await bench.runOnce();
      await bench.assertEqual("made again");
    });
  }
});

const LEAVES = `
  create table r (id int primary key, t text) partition by range (id);
  create table r1 partition of r for values from (0) to (10);
  create table r2 partition of r for values from (10) to (20);
  insert into r values (1, 'a'), (2, 'b'), (11, 'c');
  create table child (id int primary key, r int);
  insert into child values (5, 1), (6, 11)`;
const TREE = `
table: r
children:
  - {table: child, label: children, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [id], child: [r]}}}`;

describe("Partitions that change while nobody follows them", () => {
  for (
    const statement of [
      "truncate r1",
      "create table r3 (id int primary key, t text); insert into r3 values (21, 'x'); alter table r attach partition r3 for values from (20) to (30)",
      "alter table r detach partition r2",
      "drop table r2",
      "update r set id = 12 where id = 2; alter table r add u int default 1",
      "alter table r detach partition r2; create table r2b partition of r for values from (10) to (20)",
    ]
  ) {
    it(statement, async () => {
      await using bench = await Bench.open(15, LEAVES, TREE);
      await bench.runOnce();
      await bench.write(statement);
      await bench.runOnce();
      await bench.assertEqual(statement);
    });
  }

  it("a partition that is detached concurrently, while it is followed", async () => {
    await using bench = await Bench.open(17, LEAVES, TREE);
    bench.start();
    await bench.assertSettled("after the load");
    await bench.write("alter table r detach partition r2 concurrently");
    await bench.assertSettled("detached");
    await bench.write("update r set id = 3 where id = 2");
    await bench.assertSettled("moved");
  });
});
