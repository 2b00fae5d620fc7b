/** The name of the primary leads to another server while the run goes on, or when it starts: nothing that is found there is believed. */
import assert from "node:assert/strict";
import { renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { PostgresServer } from "../../scripts/servers/postgres.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { checkpointPath } from "../../src/sync/setup/checkpoint_path.ts";
import { Bench } from "../integration/support.ts";
import { eventually } from "../support/eventually.ts";
import { databasesOf, ownPostgres, ownStandby, withDatabase } from "../support/postgres.ts";
import {
  BOOKS,
  CHANGES,
  copyFolder,
  failureOf,
  faults,
  isError,
  loads,
  openNamed,
  promote,
  replayed,
  SHOP,
  slotOf,
  standbyMet,
} from "./books.ts";
import { everyDocument, superuser } from "./library.ts";

/** A cluster with the same database and tables, other rows, and no slot. */
async function strangerWith(bench: Bench): Promise<PostgresServer> {
  const other = await ownPostgres({ major: 15 });
  const admin = superuser(other);
  await admin.unsafe(`CREATE DATABASE ${bench.database.name}`);
  await admin.end();
  await writeAt(other, bench, SHOP, "UPDATE book SET title = 'a stranger'");
  return other;
}

/** Ends sessions of a run on a server. */
async function terminate(server: PostgresServer, purpose: string): Promise<void> {
  const sql = superuser(server);
  await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ${`pgsync ${purpose}`}`;
  await sql.end();
}

/** Writes on a server itself: the application's own connections may just have been cut. */
async function writeAt(
  server: PostgresServer,
  bench: Bench,
  ...statements: readonly string[]
): Promise<void> {
  const sql = superuser({ ...server, url: withDatabase(server.url, bench.database.name) });
  for (const statement of statements) await sql.unsafe(statement);
  await sql.end();
}

async function slotsOf(server: PostgresServer): Promise<string[]> {
  const sql = superuser(server);
  const slots = await sql<{ name: string }[]>`SELECT slot_name::text AS name FROM pg_replication_slots`;
  await sql.end();
  return slots.map(({ name }) => name);
}

describe("A name that leads elsewhere before the stream is cut", () => {
  for (const onSlotLoss of ["halt", "resync"] as const) {
    it(`to a standby that has no slot: it is waited for (--on-slot-loss ${onSlotLoss})`, async () => {
      const primary = await ownPostgres({ major: 15 });
      const standby = await ownStandby(primary);
      const { bench, name } = await openNamed(primary);
      await using _bench = bench;
      // It lags behind, and lacks a table.
      await bench.write("ALTER TABLE rating RENAME TO rating_later");
      await replayed(standby, primary);
      const there = superuser(standby);
      await there`SELECT pg_wal_replay_pause()`;
      await there.end();
      await bench.write("ALTER TABLE rating_later RENAME TO rating");
      await bench.runOnce();
      const loaded = loads(bench);
      bench.start({ bootstrap: false, onSlotLoss });
      await bench.assertSettled("after the load");
      name.lead(standby.url);
      await terminate(primary, "stream");
      await standbyMet(bench);
      name.lead(primary.url);
      await bench.write(...CHANGES);
      await bench.assertSettled("with the primary again");
      assert.deepEqual([...new Set(faults(bench))], ["POSTGRES_UNREACHABLE"]);
      assert.equal(loads(bench), loaded, "nothing was loaded anew");
      await bench.stop();
    });

    it(`to another cluster: the run halts by that, whatever tables there are (--on-slot-loss ${onSlotLoss})`, async () => {
      const primary = await ownPostgres({ major: 15 });
      const { bench, name } = await openNamed(primary);
      await using _bench = bench;
      await bench.runOnce();
      const loaded = loads(bench);
      const other = await strangerWith(bench);
      bench.start({ bootstrap: false, onSlotLoss });
      await bench.assertSettled("after the load");
      name.lead(other.url);
      await terminate(primary, "stream");
      isError("CHECKPOINT_FOREIGN", await bench.failure());
      // The same at a start.
      isError("CHECKPOINT_FOREIGN", await failureOf(bench, { bootstrap: false, onSlotLoss }));
      assert.deepEqual(await slotsOf(other), []);
      await writeAt(other, bench, "DROP TABLE rating");
      isError("CHECKPOINT_FOREIGN", await failureOf(bench, { bootstrap: false, onSlotLoss }));
      name.lead(primary.url);
      bench.start({ bootstrap: false, onSlotLoss });
      await bench.assertSettled("where it belongs");
      name.lead(other.url);
      await terminate(primary, "stream");
      isError("CHECKPOINT_FOREIGN", await bench.failure());
      name.lead(primary.url);
      await bench.runOnce({ bootstrap: false });
      await bench.assertEqual("as it was");
      assert.equal(loads(bench), loaded, "nothing was loaded anew");
    });
  }
});

describe("A name that leads elsewhere while changes are being built", () => {
  /** Has a change on its way: its transaction is visible, and the building waits for a lock. */
  async function whileBuilding(bench: Bench, work: () => Promise<void>): Promise<void> {
    await bench.sql.begin(async (sql) => {
      await sql`LOCK TABLE rating IN ACCESS EXCLUSIVE MODE`;
      await bench.write("UPDATE book SET title = 'changed' WHERE id = 3");
      await eventually(async () => {
        // Within the transaction it would say the same at each look.
        const rows = await bench.sql`SELECT FROM pg_stat_activity
          WHERE application_name = 'pgsync build' AND wait_event_type = 'Lock'`;
        assert.equal(rows.length, 1);
      }, { what: "the building to wait" });
      await work();
    });
  }

  it("to a standby that lags behind: nothing is read there", async () => {
    const primary = await ownPostgres({ major: 15 });
    const standby = await ownStandby(primary);
    const { bench, name } = await openNamed(primary);
    await using _bench = bench;
    await bench.runOnce();
    bench.start({ bootstrap: false });
    await bench.assertSettled("after the load");
    await replayed(standby, primary);
    const there = superuser(standby);
    await there`SELECT pg_wal_replay_pause()`;
    await whileBuilding(bench, async () => {
      name.lead(standby.url);
      await terminate(primary, "build");
      await standbyMet(bench);
    });
    name.lead(primary.url);
    await bench.assertSettled("with the primary again");
    await there.end();
    await bench.stop();
  });

  it("to another cluster: nothing is read there", async () => {
    const primary = await ownPostgres({ major: 15 });
    const { bench, name } = await openNamed(primary);
    await using _bench = bench;
    await bench.runOnce();
    const other = await strangerWith(bench);
    bench.start({ bootstrap: false });
    await bench.assertSettled("after the load");
    await whileBuilding(bench, async () => {
      name.lead(other.url);
      await terminate(primary, "build");
      isError("CHECKPOINT_FOREIGN", await bench.failure());
    });
    name.lead(primary.url);
    await bench.runOnce({ bootstrap: false });
    await bench.assertEqual("with the primary again");
  });
});

describe("A start at a server that lacks what was taken", () => {
  it("a primary of before, though its slot is gone: it is refused, whatever the run may", async () => {
    const primary = await ownPostgres({ major: 15 });
    const standby = await ownStandby(primary);
    const { bench, name } = await openNamed(primary);
    await using _bench = bench;
    await bench.runOnce();
    await replayed(standby, primary);
    await promote(standby);
    name.lead(standby.url);
    name.cut();
    await writeAt(standby, bench, ...CHANGES);
    await bench.runOnce({ bootstrap: false, onSlotLoss: "resync" });
    await bench.assertEqual("on the promoted standby");
    const held = await everyDocument(bench);
    const before = superuser(primary);
    await before`SELECT pg_drop_replication_slot(${slotOf(bench)})`;
    await before.end();
    name.lead(primary.url);
    name.cut();
    for (const changes of [{}, { bootstrap: false }, { onSlotLoss: "resync" }] as const) {
      const error = await failureOf(bench, changes);
      isError("CHECKPOINT_FOREIGN", error);
      assert.match(error.message, /for timeline 2, but the server is still on 1/);
    }
    assert.deepEqual(await slotsOf(primary), []);
    assert.deepEqual(await everyDocument(bench), held);
  });

  it("a copy of the server: it is noted, made anew only by name, and taken back at the right address or by moving the file away", async () => {
    const server = await ownPostgres({ major: 17 });
    await using bench = await Bench.open(databasesOf(server), SHOP, BOOKS);
    await bench.runOnce();
    const { dataDirectory: data } = server;
    await server.halt();
    await copyFolder(data, `${data}.copy`);
    // As pg_basebackup leaves it.
    rmSync(join(`${data}.copy`, "pg_replslot", slotOf(bench)), { recursive: true });
    await server.start();
    await writeAt(
      server,
      bench,
      "SELECT pg_logical_emit_message(false, 'test', repeat('x', 10000000))",
      ...CHANGES,
    );
    await bench.runOnce();
    await bench.assertEqual("what the copy lacks");
    const loaded = loads(bench);
    const swap = async (from: string, to: string) => {
      await server.halt();
      renameSync(data, from);
      renameSync(to, data);
      await server.start();
    };
    await swap(`${data}.right`, `${data}.copy`);
    for (const changes of [{}, { bootstrap: false }]) {
      const error = await failureOf(bench, changes);
      isError("HISTORY_DIVERGED", error);
      assert.match(
        error.message,
        /PostgreSQL at 127\.0\.0\.1:\d+ .* its WAL ends at [0-9A-F]+\/[0-9A-F]+, before/,
      );
    }
    assert.deepEqual(await slotsOf(server), []);
    await swap(`${data}.copy`, `${data}.right`);
    // The slot is at the very position (since 17 it is kept over a restart of the server): this is the server that was followed.
    for (const changes of [{}, { bootstrap: false }]) await bench.runOnce(changes);
    assert.equal(loads(bench), loaded, "nothing was loaded anew");
    // Killed between storing a position and confirming it: the slot does not show that any more.
    await swap(`${data}.right`, `${data}.copy`);
    isError("HISTORY_DIVERGED", await failureOf(bench));
    await swap(`${data}.copy`, `${data}.right`);
    const path = checkpointPath(bench.options, slotOf(bench));
    {
      using file = Checkpoint.open(path);
      file.savePosition((file.position() ?? 0n) + 1n);
    }
    for (const changes of [{}, { bootstrap: false }]) {
      const noted = await failureOf(bench, changes);
      isError("HISTORY_DIVERGED", noted);
      assert.ok(noted.remedy.includes(`move the checkpoint file ${path} away`), noted.remedy);
    }
    renameSync(path, `${path}.away`);
    await writeAt(server, bench, "UPDATE book SET title = 'at the right address' WHERE id = 9");
    await bench.runOnce({ bootstrap: false });
    await bench.assertEqual("at the right address");
    assert.equal(loads(bench), loaded, "nothing was loaded anew");
    await swap(`${data}.right`, `${data}.copy`);
    await bench.runOnce({ bootstrap: false, onSlotLoss: "resync" });
    await bench.assertEqual("with the copy, by name");
  });
});
