import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connectPostgres, type Sql } from "../../src/postgres/connect.ts";
import type { PgsyncError } from "../../src/errors/error.ts";
import { classifyStreamError } from "../../src/replication/diagnosis.ts";
import {
  assertUsableSlot,
  createSlot,
  inspectSlot,
  slotActiveError,
  type SlotState,
} from "../../src/replication/slot.ts";
import { dropSlot, refuseFollowed } from "../../src/replication/slot_drop.ts";
import { databaseOf, optionsOf } from "../postgres/options.ts";
import { eventually } from "../support/eventually.ts";
import { ownPostgres, usePostgres } from "../support/postgres.ts";
import { newSource, Recorder, startStream } from "./setup.ts";

const healthy: SlotState = {
  name: "s",
  plugin: "pgoutput",
  database: "shop",
  temporary: false,
  active: false,
  activePid: null,
  activeApplication: null,
  restartLsn: 1n,
  confirmedFlushLsn: 2n,
  walStatus: "reserved",
  safeWalSize: null,
  invalidationReason: null,
};

test("only a healthy pgoutput slot of this database is usable", () => {
  const check = (slot: SlotState | null) => () => assertUsableSlot(slot, "s", "shop");
  check(healthy)();
  check({ ...healthy, walStatus: "unreserved" })();
  assert.throws(check(null), { code: "SLOT_MISSING" });
  assert.throws(check({ ...healthy, plugin: "wal2json" }), { code: "SLOT_MISMATCH", message: /wal2json/ });
  assert.throws(check({ ...healthy, plugin: null, database: null }), {
    code: "SLOT_MISMATCH",
    message: /physical/,
  });
  assert.throws(check({ ...healthy, database: "other" }), { code: "SLOT_MISMATCH", message: /"other"/ });
  assert.throws(check({ ...healthy, walStatus: "lost" }), { code: "SLOT_LOST" });
  const removed = { ...healthy, walStatus: "lost", invalidationReason: "wal_removed" } as const;
  assert.throws(check(removed), { code: "SLOT_LOST", message: /\(wal_removed\)/ });
});

test("who holds a slot is named as far as it is known", () => {
  const held = { ...healthy, active: true, activePid: 42, activeApplication: "pgsync stream" };
  assert.match(slotActiveError("s", held).message, /in use by process 42 \(pgsync stream\)\.$/);
  assert.match(slotActiveError("s", null).message, /in use by another process\.$/);
});

async function withAdmin(url: string, use: (sql: Sql) => Promise<void>): Promise<void> {
  const purpose = { database: databaseOf(url), purpose: "test", max: 3, kind: "admin" } as const;
  const sql = connectPostgres(optionsOf(url), purpose);
  try {
    await use(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

for (const major of [15, 17] as const) {
  describe(`PostgreSQL ${major}`, () => {
    test("a slot is created, inspected and dropped", async () => {
      const { url, name: database } = await (await usePostgres(major)).createDatabase();
      await withAdmin(url, async (sql) => {
        const name = `slot_${database}`;
        assert.equal(await inspectSlot(sql, name), null);
        const start = await createSlot(sql, { name, database });
        const state = await inspectSlot(sql, name);
        assertUsableSlot(state, name, database);
        assert.equal(state.confirmedFlushLsn, start);
        assert.ok(state.restartLsn !== null && state.restartLsn <= start);
        assert.deepEqual([state.active, state.activePid, state.temporary, state.walStatus], [
          false,
          null,
          false,
          "reserved",
        ]);
        await assert.rejects(createSlot(sql, { name, database }), {
          code: "SLOT_MISMATCH",
          message: `A replication slot "${name}" exists already.`,
        });
        assert.equal(await dropSlot(sql, name), true);
        assert.equal(await dropSlot(sql, name), false);
      });
    });

    test("an older transaction holds up the creation only for a while, and is named", async () => {
      const { url, name: database } = await (await usePostgres(major)).createDatabase();
      await withAdmin(url, async (sql) => {
        await sql.begin(async (blocker) => {
          const [row] = await blocker`SELECT pg_backend_pid() AS pid, pg_current_xact_id()::text AS xid`;
          const creating = createSlot(sql, { name: `slot_${database}`, database, waitLimitMs: 300 });
          await assert.rejects(creating, (error: PgsyncError) => {
            assert.equal(error.code, "POSTGRES_BUSY");
            // Other tests on this server may hold older transactions for a moment, so only the form is certain.
            assert.match(
              error.message,
              /could not be created within 0\.3 s, because process \d+ .*holds an older/,
            );
            assert.ok(Number(row?.["pid"]) > 0);
            return true;
          });
        });
        assert.equal(await inspectSlot(sql, `slot_${database}`), null);
      });
    });

    test("a slot in use cannot be dropped or followed by another; both name the process", async () => {
      const { url } = await (await usePostgres(major)).createDatabase();
      const source = await newSource(url, "CREATE TABLE public.book (id int PRIMARY KEY)", ["book"]);
      const stream = await startStream(source, new Recorder());
      const state = await inspectSlot(source.sql, source.slot);
      assert.deepEqual([state?.active, state?.activeApplication], [true, "pgsync stream"]);
      const inUse = {
        code: "SLOT_ACTIVE",
        message:
          `The replication slot "${source.slot}" is in use by process ${state?.activePid} (pgsync stream).`,
      };
      await assert.rejects(dropSlot(source.sql, source.slot, 100), inUse);
      await assert.rejects(startStream(source, new Recorder()), inUse);
      await stream.stop();
      assert.equal(await dropSlot(source.sql, source.slot), true);
      await assert.rejects(startStream(source, new Recorder()), { code: "SLOT_MISSING" });
      await source.sql.end({ timeout: 1 });
    });

    test("a slot is left to whoever follows it, or comes back to it in time", async () => {
      const { url } = await (await usePostgres(major)).createDatabase();
      const source = await newSource(url, "CREATE TABLE public.book (id int PRIMARY KEY)", ["book"]);
      const { sql, slot } = source;
      const stream = await startStream(source, new Recorder());
      await stream.stop();
      const refusing = refuseFollowed(sql, slot, 60_000);
      const back = await startStream(source, new Recorder());
      await assert.rejects(refusing, { code: "SLOT_ACTIVE" });
      await back.stop();
      await eventually(async () => assert.equal((await inspectSlot(sql, slot))?.active, false));

      // From 17 on the server tells since when it is free.
      if (major >= 17) {
        await eventually(async () => {
          const rows = await sql`SELECT FROM pg_replication_slots
            WHERE slot_name = ${slot} AND clock_timestamp() - inactive_since > interval '3 s'`;
          assert.equal(rows.length, 1);
        });
      }
      const began = performance.now();
      await refuseFollowed(sql, slot, 3_000);
      assert.equal(performance.now() - began < 2_900, major >= 17);
      await source.sql.end({ timeout: 1 });
    });

    test("a role without REPLICATION is told what it lacks", async () => {
      const { url, name: database } = await (await usePostgres(major)).createDatabase();
      await withAdmin(url, async (sql) => {
        const role = `plain_${database}`;
        await sql.unsafe(`CREATE ROLE ${role} LOGIN`);
        const options = optionsOf(url, { user: role });
        const plain = connectPostgres(options, { database, purpose: "test", max: 1, kind: "admin" });
        await assert.rejects(createSlot(plain, { name: `slot_${database}`, database }), {
          code: "PRIVILEGE_MISSING",
          remedy: `Have a superuser run: ALTER ROLE "${role}" REPLICATION;`,
        });
        await plain.end({ timeout: 1 });
        await sql.unsafe(`DROP ROLE ${role}`);
      });
    });

    test("names that PostgreSQL does not allow", async () => {
      await withAdmin((await usePostgres(major)).url, async (sql) => {
        await assert.rejects(createSlot(sql, { name: "Upper Case", database: "postgres" }), {
          code: "SLOT_MISMATCH",
        });
      });
    });

    test("a server set up otherwise: no free slot, no logical WAL, WAL removed", async () => {
      const server = await ownPostgres({
        major,
        settings: {
          max_replication_slots: "1",
          max_slot_wal_keep_size: "1MB",
          min_wal_size: "32MB",
          max_wal_size: "32MB",
        },
      });
      const database = "postgres";
      await withAdmin(server.url, async (sql) => {
        await createSlot(sql, { name: "first", database });
        await assert.rejects(createSlot(sql, { name: "second", database }), { code: "SLOTS_EXHAUSTED" });
        // Enough WAL for the slot to be left behind; the checkpoint removes what it needed.
        await eventually(async () => {
          await sql`SELECT pg_switch_wal(), pg_logical_emit_message(false, 'fill', repeat('x', 1000))`;
          await sql`CHECKPOINT`;
          assert.equal((await inspectSlot(sql, "first"))?.walStatus, "lost");
        }, { what: "the slot to be lost" });
        const stream = { options: optionsOf(server.url), database, slot: "first", publication: "p" };
        const error = await classifyStreamError(
          Object.assign(new Error("x"), { code: "55000" }),
          stream,
          true,
        );
        assert.equal(error.code, "SLOT_LOST");
        if (major === 17) assert.match(error.message, /\(wal_removed\)/);
        const source = { ...stream, sql };
        await assert.rejects(startStream(source, new Recorder()), { code: "SLOT_LOST" });
        await dropSlot(sql, "first");
      });
      await server.restart("fast", { wal_level: "replica" });
      await withAdmin(server.url, async (sql) => {
        await assert.rejects(createSlot(sql, { name: "third", database }), {
          code: "WAL_LEVEL",
          message: "wal_level is replica, so PostgreSQL cannot stream changes.",
        });
      });
      await server.stop("immediate");
    });
  });
}
