import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connectPostgres } from "../../src/postgres/connect.ts";
import { changePublication } from "../../src/replication/publication_change.ts";
import { eventually } from "../support/eventually.ts";
import { Bench } from "./support.ts";

const ROWS = "create table r (id int primary key, t text); insert into r values (1, 'one'), (2, 'two')";

describe("A publication that lacked a table while the slot was there", () => {
  for (
    const [what, statements] of [
      ["the table was taken out", (slot: string) => [`alter publication ${slot} drop table r`]],
      ["the table was made again", () => ["drop table r", ROWS]],
      [
        "deletes were not published",
        (slot: string) => [`alter publication ${slot} set (publish = 'insert')`],
      ],
    ] as const
  ) {
    it(`is mended by bootstrap, and its documents are loaded anew: ${what}`, async () => {
      await using bench = await Bench.open(17, ROWS, "table: r");
      await bench.runOnce();
      await bench.write(
        ...statements(`pgsync_${bench.database.name}`),
        "update r set t = 'changed' where id = 1",
        "delete from r where id = 2",
        "insert into r values (3, 'new')",
      );
      await assert.rejects(bench.runOnce({ bootstrap: false }), { code: "PUBLICATION_MISSING" });
      await bench.runOnce();
      await bench.assertEqual(what);
    });
  }

  it("leaves the documents of other tables loaded", async () => {
    const ddl = `${ROWS}; create table s (id int primary key); insert into s values (1)`;
    await using bench = await Bench.open(17, ddl, ["table: r", "table: s"]);
    await bench.runOnce();
    await bench.write(`alter publication pgsync_${bench.database.name} drop table r`, "update r set t = 'x'");
    const before = bench.events.length;
    await bench.runOnce();
    await bench.assertEqual("after bootstrap");
    const loaded = bench.events.slice(before).flatMap((event) => event.type === "load" ? [event.index] : []);
    assert.deepEqual([...new Set(loaded)], [bench.schema.documents[0]?.index]);
  });
});

describe("A document that is added to a slot", () => {
  it("waits for those who are writing to its tables, and then holds what they wrote", async () => {
    const ddl = `${ROWS}; create table x (id int primary key, t text); insert into x values (1, 'before')`;
    await using bench = await Bench.open(17, ddl, ["table: r", "table: x"]);
    const [first] = bench.schema.documents;
    assert.ok(first !== undefined);
    await bench.runOnce({ schema: { ...bench.schema, documents: [first] } });
    const writer = await bench.sql.reserve();
    try {
      await writer`begin`;
      await writer`insert into x values (2, 'from the open transaction')`;
      await writer`update x set t = 'changed' where id = 1`;
      bench.start();
      await eventually(async () => {
        const waiting = await bench.sql`
          select from pg_locks where mode = 'ShareRowExclusiveLock' and relation = 'x'::regclass and not granted`;
        return waiting.length > 0;
      }, { what: "the lock to be asked for" });
    } finally {
      await writer`commit`;
      writer.release();
    }
    await bench.assertSettled("after the open transaction");
  });

  it("names the writer when the wait is too long, and changes nothing", async () => {
    await using bench = await Bench.open(17, `${ROWS}; create publication p`, "table: r");
    const writer = await bench.sql.reserve();
    const [row] = await writer`select pg_backend_pid()::text as pid`;
    await writer`begin`;
    await writer`update r set t = 'open'`;
    const admin = connectPostgres(bench.options.postgres, {
      database: bench.database.name,
      purpose: "test",
      max: 1,
      kind: "admin",
    });
    try {
      const change = {
        name: "p",
        tables: [{ schema: "public", table: "r" }],
        version: 170_000,
        waitLimitMs: 100,
      };
      await assert.rejects(changePublication(admin, change), (error: Error & { code?: string }) => {
        assert.equal(error.code, "POSTGRES_BUSY");
        assert.match(error.message, new RegExp(`process ${row?.pid} .*holds a lock on public.r, open for`));
        return true;
      });
      const published = await bench.sql`select from pg_publication_tables where pubname = 'p'`;
      assert.equal(published.length, 0);
      await writer`rollback`;
      assert.equal((await changePublication(admin, change)).length > 0, true);
    } finally {
      writer.release();
      await admin.end({ timeout: 1 });
    }
  });
});
