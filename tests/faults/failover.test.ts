/** Another server where the one was that is followed: promoted, restored, or simply another. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { describe, it } from "node:test";
import type { PostgresServer } from "../../scripts/servers/postgres.ts";
import type { ErrorCode } from "../../src/errors/codes.ts";
import { SEARCH_DEFAULTS } from "../../src/search/options.ts";
import { Bench } from "../integration/support.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { databasesOf, ownPostgres, ownStandby, withDatabase } from "../support/postgres.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";
import { Vandal } from "../verify/damage.ts";
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
  standbyMet,
} from "./books.ts";
import { superuser } from "./library.ts";

/** A standby that keeps copies of slots. */
async function withSlotCopies(primary: PostgresServer): Promise<PostgresServer> {
  const sql = superuser(primary);
  await sql`SELECT pg_create_physical_replication_slot('standby')`;
  await sql.end();
  return await ownStandby(primary, {
    settings: {
      primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres dbname=postgres`,
      primary_slot_name: "standby",
      hot_standby_feedback: "on",
      sync_replication_slots: "on",
    },
  });
}

async function slotCopied(standby: PostgresServer, bench: Bench): Promise<void> {
  const sql = superuser(standby);
  await eventually(async () => {
    await bench.sql`SELECT pg_logical_emit_message(true, 'test', '')`;
    // The slot's own beginnings move by these.
    await bench.sql`SELECT pg_log_standby_snapshot()`;
    const [slot] = await sql`SELECT synced AND NOT temporary AS kept FROM pg_replication_slots
      WHERE slot_name = ${`pgsync_${bench.database.name}`}`;
    assert.equal(slot?.["kept"], true);
    // The worker that copies slots sleeps twice as long each time it finds nothing to do, up to 30 s (PostgreSQL's slotsync.c).
  }, { what: "the standby to keep a copy of the slot", timeout: 60_000 });
  await sql.end();
}

describe("A standby that is promoted", () => {
  it("with a copy of the slot is followed on, and the documents are compared", async () => {
    const primary = await ownPostgres();
    const standby = await withSlotCopies(primary);
    const { bench, name } = await openNamed(primary);
    await using _bench = bench;
    await bench.runOnce();
    bench.start({ bootstrap: false });
    await bench.assertSettled("after the load");
    const loaded = loads(bench);
    await slotCopied(standby, bench);
    await bench.write(...CHANGES);
    await bench.settled();
    await replayed(standby, primary);
    // As if it had been written from what was lost with the primary.
    await new Vandal(bench).remove("11");
    await primary.kill();
    name.lead(standby.url);
    name.cut();
    // Its name leads to a server that is a standby still.
    await standbyMet(bench);
    await promote(standby);
    await bench.write("UPDATE book SET title = 'after the failover' WHERE id > 40");
    await bench.assertSettled("on the promoted standby");
    assert.ok(faults(bench).every((code) => code === "POSTGRES_UNREACHABLE"), faults(bench).join());
    assert.equal(loads(bench), loaded, "nothing was loaded anew");
    // The timeline is kept: another start compares nothing.
    await bench.stop();
    await bench.runOnce({ bootstrap: false });
    await bench.assertEqual("after another start");
  });

  it("without the slot is a loss: a run halts, or begins another there", async () => {
    const primary = await ownPostgres({ major: 15 });
    const standby = await ownStandby(primary);
    const { bench, name } = await openNamed(primary);
    await using _bench = bench;
    await bench.runOnce();
    bench.start({ bootstrap: false });
    await bench.assertSettled("after the load");
    await bench.write(...CHANGES);
    await bench.settled();
    await replayed(standby, primary);
    await primary.kill();
    await promote(standby);
    name.lead(standby.url);
    name.cut();
    isError("SLOT_MISSING", await bench.failure());
    await bench.write("UPDATE book SET title = 'after the failover' WHERE id > 40");
    bench.start({ bootstrap: false, onSlotLoss: "resync" });
    await bench.assertSettled("on the promoted standby");
    await bench.write("DELETE FROM rating WHERE id = 20", "DELETE FROM book WHERE id = 20");
    await bench.assertSettled("a change there");
    await bench.stop();
  });

  it("with a copy of the slot, but not of all that was taken, is a loss, and stays one", async () => {
    const primary = await ownPostgres();
    const standby = await withSlotCopies(primary);
    const { bench, name } = await openNamed(primary);
    await using _bench = bench;
    await bench.runOnce();
    bench.start({ bootstrap: false });
    await bench.assertSettled("after the load");
    await slotCopied(standby, bench);
    await replayed(standby, primary);
    await standby.halt();
    await bench.write(...CHANGES);
    await bench.assertSettled("what the standby does not get");
    await primary.kill();
    await standby.start();
    await promote(standby);
    name.lead(standby.url);
    name.cut();
    const error = await bench.failure();
    isError("HISTORY_DIVERGED", error);
    assert.match(error.message, /its timeline 2 left timeline 1 at .*, before the position/);
    isError("HISTORY_DIVERGED", await failureOf(bench, { bootstrap: false }));
    bench.start();
    await bench.assertSettled("loaded anew, without what was lost");
    await bench.write(...CHANGES);
    await bench.assertSettled("the same once more");
    await bench.stop();
  });
});

describe("An older state of the server that is restored", () => {
  for (const resync of [true, false]) {
    it(`is a loss: ${resync ? "a run that may loads anew" : "another halts, and at each start"}`, async () => {
      const server = await ownPostgres();
      await using bench = await Bench.open(databasesOf(server), SHOP, BOOKS);
      await bench.runOnce();
      const { dataDirectory } = server;
      await server.halt();
      await copyFolder(dataDirectory, `${dataDirectory}.backup`);
      await server.start();
      bench.start({ bootstrap: resync });
      await bench.settled();
      // What is lost lies far beyond what is written after the restore.
      const noise = "SELECT pg_logical_emit_message(false, 'test', repeat('x', 10000000))";
      await bench.write(noise, ...CHANGES);
      await bench.assertSettled("what will be lost");
      await server.halt();
      rmSync(dataDirectory, { recursive: true });
      await copyFolder(`${dataDirectory}.backup`, dataDirectory);
      await server.start();
      if (!resync) {
        const error = await bench.failure();
        isError("HISTORY_DIVERGED", error);
        assert.match(error.message, /an older state of it was restored/);
        // Beyond the position nobody could tell any more.
        await bench.write(noise, noise, "UPDATE book SET title = 'after the restore' WHERE id = 9");
        isError(
          "HISTORY_DIVERGED",
          await failureOf(bench, { bootstrap: false }),
        );
        bench.start();
      } else {
        await eventually(() => faults(bench).includes("HISTORY_DIVERGED"), { what: "the run to notice" });
      }
      await bench.assertSettled("what was restored");
      await bench.write("UPDATE book SET title = 'again' WHERE id IN (2, 3)");
      await bench.assertSettled("documents that were written and deleted in what is lost");
      await bench.stop();
    });
  }
});

describe("Another cluster", () => {
  it("halts the run before it touches anything, whatever it may", async () => {
    const [server, other] = await Promise.all([ownPostgres(), ownPostgres()]);
    const { bench, name } = await openNamed(server);
    await using _bench = bench;
    const stranger = superuser(other);
    await stranger.unsafe(`CREATE DATABASE ${bench.database.name}`);
    await stranger.end();
    const there = superuser({ ...other, url: withDatabase(other.url, bench.database.name) });
    await there.unsafe(SHOP);
    await there.unsafe("DELETE FROM rating; DELETE FROM book");
    bench.start();
    await bench.assertSettled("after the load");
    const loaded = loads(bench);
    name.lead(other.url);
    name.cut();
    const error = await bench.failure();
    isError("CHECKPOINT_FOREIGN", error);
    assert.match(error.message, /system identifier/);
    assert.equal((await there`SELECT FROM pg_replication_slots`).length, 0);
    assert.equal((await there`SELECT FROM pg_publication`).length, 0);
    await there.end();
    name.lead(server.url);
    name.cut();
    await bench.runOnce({ bootstrap: false });
    await bench.assertEqual("as it was");
    assert.equal(loads(bench), loaded, "nothing was loaded anew");
  });
});

/** A start that was judged, and waits for the search engine. */
async function openWaiting(primary: PostgresServer) {
  const proxy = await startTcpProxy((await useElasticsearch()).url);
  const search = { ...SEARCH_DEFAULTS, urls: [proxy.url] };
  const { bench, name } = await openNamed(primary, { search });
  await proxy.shut();
  bench.start();
  await eventually(() => {
    const [status] = bench.synchronizer.status().databases;
    // Where the slot is watched, the start has been judged: one that cannot be ends.
    assert.ok(faults(bench).includes("SEARCH_UNREACHABLE") && (status?.stream.server ?? 0n) > 0n);
  }, { what: "the start to wait", timeout: 60_000 });
  return { bench, name, proxy };
}

/** Waits until a run that goes on has told of an error. */
async function told(bench: Bench, code: ErrorCode): Promise<void> {
  await eventually(() => assert.ok(faults(bench).includes(code), faults(bench).join()), {
    what: `the run to tell of ${code}`,
    timeout: 60_000,
  });
}

describe("While a start waits for the search engine", () => {
  it("a failover is waited for, and the promoted standby followed", async () => {
    const primary = await ownPostgres({ major: 15 });
    const standby = await ownStandby(primary);
    const { bench, name, proxy } = await openWaiting(primary);
    await using _stop = { [Symbol.asyncDispose]: () => proxy.stop() };
    await using _bench = bench;
    // Where the test fails before that: nobody could drop the database on a server that is dead.
    using _lead = { [Symbol.dispose]: () => name.lead(standby.url) };
    await replayed(standby, primary);
    await primary.kill();
    await proxy.open();
    await told(bench, "POSTGRES_UNREACHABLE");
    await promote(standby);
    name.lead(standby.url);
    name.cut();
    await bench.assertSettled("on the promoted standby");
    const expected: ErrorCode[] = ["SEARCH_UNREACHABLE", "POSTGRES_UNREACHABLE", "SERVER_CHANGED"];
    assert.ok(faults(bench).every((code) => expected.includes(code)), faults(bench).join());
    await bench.stop();
  });

  it("a restart of PostgreSQL is waited for, and what is in the way after it", async () => {
    const server = await ownPostgres();
    const { bench, name, proxy } = await openWaiting(server);
    await using _stop = { [Symbol.asyncDispose]: () => proxy.stop() };
    await using _bench = bench;
    await name.shut();
    await server.halt();
    await proxy.open();
    await told(bench, "POSTGRES_UNREACHABLE");
    await server.start();
    const there = superuser({ ...server, url: withDatabase(server.url, bench.database.name) });
    await there.begin(async (transaction) => {
      await transaction`LOCK TABLE book`;
      await name.open();
      await eventually(async () => {
        // As a lock_timeout would, at once. (A transaction sees pg_stat_activity as it was when it first asked.)
        await bench.sql`
          SELECT pg_cancel_backend(pid) FROM pg_stat_activity
          WHERE application_name = 'pgsync admin' AND wait_event_type = 'Lock'`;
        assert.ok(faults(bench).includes("POSTGRES_BUSY"), faults(bench).join());
      }, { what: "the run to meet the lock", timeout: 60_000 });
    });
    await there.end();
    await bench.assertSettled("after the restart");
    await bench.stop();
  });
});
