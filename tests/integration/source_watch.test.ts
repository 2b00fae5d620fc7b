import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { SEARCH_DEFAULTS } from "../../src/search/options.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";
import { Bench } from "./support.ts";

/** Refuses anything but our error of this code. */
function code(expected: string): (thrown: unknown) => boolean {
  return (thrown) => {
    assert.ok(thrown instanceof PgsyncError, String(thrown));
    assert.equal(thrown.code, expected);
    return true;
  };
}

describe("Tables that others inherit from", () => {
  it("are refused by name, before anything is made", async () => {
    await using bench = await Bench.open(
      17,
      "create table animal (id int primary key); create table dog (name text) inherits (animal)",
      "table: animal",
    );
    await assert.rejects(bench.runOnce(), code("SCHEMA_UNSUPPORTED"));
    const slots = await bench.sql`select from pg_replication_slots where database = ${bench.database.name}`;
    assert.equal(slots.length, 0);
    // The heir itself is a table like any other, and the other is one again when its heirs are gone.
    await bench.write("alter table dog no inherit animal", "insert into animal values (1)");
    await bench.runOnce();
    await bench.assertEqual("without heirs");
  });
});

const LEAVES = `
  create table r (id int primary key, t text) partition by range (id);
  create table r1 partition of r for values from (0) to (10);
  create table r2 partition of r for values from (10) to (20);
  insert into r values (1, 'a'), (11, 'b');
  create table child (id int primary key, r int);
  insert into child values (5, 1), (6, 11)`;
const TREE = `
table: r
children:
  - {table: child, label: children, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [id], child: [r]}}}`;

for (const major of [17, 15] as const) {
  describe(`Partitions that come and go, PostgreSQL ${major}`, () => {
    it("the documents are equal after what the stream does not tell of", async () => {
      await using bench = await Bench.open(major, LEAVES, TREE);
      bench.start();
      await bench.assertSettled("after the load");
      for (
        const statement of [
          "truncate r1",
          "create table r3 (id int primary key, t text); insert into r3 values (21, 'x'); " +
          "alter table r attach partition r3 for values from (20) to (30)",
          "alter table r detach partition r2",
          "insert into r values (2, 'again'); drop table r3",
        ]
      ) {
        await bench.write(statement);
        await bench.assertSettled(statement);
      }
    });
  });
}

describe("A table that the stream no longer tells of", () => {
  const ROWS = "create table r (id int primary key, t text); insert into r values (1, 'one')";
  for (
    const [what, expected, statements, mending] of [
      [
        "taken out of the publication",
        "PUBLICATION_MISSING",
        (slot: string) => `alter publication ${slot} drop table r`,
        (slot: string) => `alter publication ${slot} add table r`,
      ],
      [
        "dropped and made again",
        "SOURCE_CHANGED",
        () => `drop table r; ${ROWS}`,
        (slot: string) => `alter publication ${slot} add table r`,
      ],
    ] as const
  ) {
    it(`halts the run, and its documents are loaded anew, also when mended by hand: ${what}`, async () => {
      await using bench = await Bench.open(17, ROWS, "table: r");
      const slot = `pgsync_${bench.database.name}`;
      bench.start();
      await bench.assertSettled("after the load");
      await bench.write(statements(slot), "update r set t = 'changed'", "insert into r values (2, 'two')");
      assert.ok(code(expected)(await bench.failure()));
      assert.equal(bench.synchronizer.status().ready, false);
      await bench.write(mending(slot));
      await bench.runOnce({ bootstrap: false });
      await bench.assertEqual("after the second run");
    });
  }

  it("halts a run that is in the middle of its loads by what happened, and they begin anew", async () => {
    const rows =
      "create table r (id int primary key, t text); insert into r select g, 'old' from generate_series(1, 3000) g";
    const proxy = await startTcpProxy((await useElasticsearch()).url);
    await using bench = await Bench.open(17, rows, ["table: r", "table: r"], {
      search: { ...SEARCH_DEFAULTS, urls: [proxy.url] },
      loadChunkRows: 10,
      loadWorkers: 1,
      // Else it may make a publication that is gone, and looks at it first.
      onSlotLoss: "halt",
    });
    const slot = `pgsync_${bench.database.name}`;
    const loads = () => bench.synchronizer.status().databases[0]?.indices.map((index) => index.load) ?? [];
    bench.start();
    await eventually(() => loads().length === 2 && loads().every((load) => load.chunksDone > 0), {
      what: "both loads under way",
      interval: 5,
    });
    // The first index is marked as not loaded, the second is about to be.
    const second = proxy.holdBack(new RegExp(`^GET /${bench.schema.documents[1]?.index}[/? ]`));
    await bench.write(`alter publication ${slot} drop table r`, "update r set t = 'new' where id < 100");
    await second.caught;
    assert.ok(loads().every((load) => load.state === "running"), "they were cut off");
    await eventually(() => bench.synchronizer.status().databases[0]?.phase === "halted", {
      what: "the run to halt",
    });
    await second.release();
    assert.ok(code("PUBLICATION_MISSING")(await bench.failure()));
    await bench.write(`alter publication ${slot} add table r`);
    await bench.runOnce({ bootstrap: false });
    await bench.assertEqual("after the second run");
    await proxy.stop();
  });
});

describe("A replica identity", () => {
  it("that somebody takes away while it is set is set again", async () => {
    await using bench = await Bench.open(
      15,
      `create table r (id int primary key); create table c (id int primary key, r int not null);
      insert into r values (1), (2); insert into c values (5, 1);
      create table taken_away ();
      create function take_away() returns event_trigger language plpgsql as $$ begin
        if not exists (select from public.taken_away) then
          insert into public.taken_away default values;
          alter table public.c replica identity default;
        end if;
      end $$;
      create event trigger take_away on ddl_command_end when tag in ('ALTER TABLE') execute function take_away()`,
      `
table: r
children:
  - {table: c, label: children, relationship: {variant: object, type: one_to_many, foreign_key: {parent: [id], child: [r]}}}`,
    );
    bench.start();
    await bench.assertSettled("after the load");
    assert.equal((await bench.sql`select from taken_away`).length, 1);
    await bench.write("update c set r = 2");
    await bench.assertSettled("moved");
  });
});
