/** Changes that nobody will tell of any more: a run halts by name, or begins a new slot and loads anew in place, as it was asked to. */
import assert from "node:assert/strict";
import { copyFileSync, rmSync } from "node:fs";
import { describe, it } from "node:test";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import type { ErrorCode } from "../../src/errors/codes.ts";
import { parseLsn } from "../../src/replication/lsn.ts";
import { SEARCH_DEFAULTS } from "../../src/search/options.ts";
import { checkpointPath } from "../../src/sync/setup/checkpoint_path.ts";
import { Synchronizer } from "../../src/sync/synchronizer.ts";
import { Bench } from "../integration/support.ts";
import { optionsOf } from "../postgres/options.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { databasesOf, ownPostgres, throughProxy, usePostgres } from "../support/postgres.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";
import { everyDocument } from "./library.ts";
import { BOOKS, CHANGES, dropSlot, failureOf, isError, resyncs, SHOP, slotOf } from "./books.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

/** Asserts that an error is such a loss, and says how it is mended. */
function isLoss(code: ErrorCode, thrown: unknown): void {
  isError(code, thrown);
  assert.match(thrown.remedy, /--on-slot-loss resync/);
}

describe("A slot that is dropped", () => {
  it("while it is followed: a run that may makes another in place, each time", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    await bench.runOnce();
    bench.start({ bootstrap: false, onSlotLoss: "resync" });
    await bench.assertSettled("after the load");
    for (const round of [1, 2]) {
      await dropSlot(bench);
      await bench.write(...CHANGES.map((sql) => sql.replaceAll(/\b(100|[234])\b/g, (id) => `${id}${round}`)));
      await eventually(() => resyncs(bench, "SLOT_MISSING") === round, { what: "another slot" });
      await bench.assertSettled(`slot ${round}`);
      await bench.write(`UPDATE book SET title = 'round ${round}'`);
      await bench.assertSettled(`a change after slot ${round}`);
    }
    await bench.stop();
  });

  it("halts a run that may not, also one that makes what is missing and is told to halt", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    bench.start({ onSlotLoss: "halt" });
    await bench.assertSettled("after the load");
    await dropSlot(bench);
    await bench.write(...CHANGES);
    isLoss("SLOT_MISSING", await bench.failure());
    for (const changes of [{ onSlotLoss: "halt" }, { bootstrap: false }] as const) {
      isLoss("SLOT_MISSING", await failureOf(bench, changes));
    }
    await bench.runOnce();
    await bench.assertEqual("with another slot");
  });
});

describe("A slot that is gone together with the checkpoint file", () => {
  it("is a loss where documents were loaded: halted by, or told of and made anew", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    await bench.runOnce();
    await dropSlot(bench);
    rmSync(checkpointPath(bench.options, slotOf(bench)));
    await bench.write(...CHANGES);
    const before = await everyDocument(bench);
    const error = await failureOf(bench, { onSlotLoss: "halt" });
    isLoss("SLOT_MISSING", error);
    assert.match(error instanceof Error ? error.message : "", /were loaded, .* knows nothing of it/);
    assert.deepEqual(await everyDocument(bench), before);
    assert.equal(
      (await bench.sql`SELECT FROM pg_replication_slots WHERE slot_name = ${slotOf(bench)}`).length,
      0,
    );
    await bench.runOnce();
    assert.equal(resyncs(bench, "SLOT_MISSING"), 1);
    await bench.assertEqual("with another slot");
  });
});

describe("A slot that has lost its WAL", () => {
  const SMALL = {
    max_slot_wal_keep_size: "1MB",
    wal_keep_size: "0",
    min_wal_size: "32MB",
    max_wal_size: "32MB",
  };

  /** Writes and recycles WAL until the slot is lost. */
  async function lose(bench: Bench): Promise<void> {
    await eventually(async () => {
      await bench.sql`SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))`;
      await bench.sql`SELECT pg_switch_wal()`;
      await bench.sql`CHECKPOINT`;
      const [slot] = await bench.sql`
        SELECT wal_status FROM pg_replication_slots WHERE slot_name = ${slotOf(bench)}`;
      assert.equal(slot?.["wal_status"], "lost");
    }, { what: "the slot to be lost" });
  }

  it("while nothing runs, and while the run is held up by the search engine", async () => {
    const server = await ownPostgres({ settings: SMALL });
    const proxy = await startTcpProxy((await useElasticsearch()).url);
    await using bench = await Bench.open(databasesOf(server), SHOP, BOOKS, {
      search: { ...SEARCH_DEFAULTS, urls: [proxy.url] },
    });
    await bench.runOnce();
    await bench.write(...CHANGES);
    await lose(bench);
    isLoss("SLOT_LOST", await failureOf(bench, { bootstrap: false }));
    bench.start();
    await bench.assertSettled("after a start that may make another");
    assert.equal(resyncs(bench, "SLOT_LOST"), 1);

    await proxy.shut();
    await bench.write("UPDATE book SET title = 'held up' WHERE id < 20", "DELETE FROM rating WHERE id = 30");
    await lose(bench);
    await eventually(() => {
      const [status] = bench.synchronizer.status().databases;
      return status?.notReady.some((reason) => /^Changes may be lost: .* removed WAL/.test(reason)) === true;
    }, { what: "the run to notice" });
    // Nothing is given up before it is known that all can be made anew.
    assert.equal(resyncs(bench, "SLOT_LOST"), 1);
    await proxy.open();
    await bench.assertSettled("after it was held up");
    assert.equal(resyncs(bench, "SLOT_LOST"), 2);

    await bench.stop();
    bench.start({ bootstrap: false });
    await bench.settled();
    await proxy.shut();
    await bench.write("UPDATE book SET title = 'held up again'");
    await lose(bench);
    isLoss("SLOT_LOST", await bench.failure());
    await proxy.open();
    await bench.runOnce();
    await bench.assertEqual("after a new start");
    await proxy.stop();
  });
});

describe("A publication that is gone", () => {
  it("while it is followed: a run that may makes it and a slot anew", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    bench.start();
    await bench.assertSettled("after the load");
    await bench.write(`DROP PUBLICATION ${slotOf(bench)}`, ...CHANGES);
    await eventually(() => resyncs(bench, "PUBLICATION_MISSING") === 1, { what: "another slot" });
    await bench.assertSettled("with another publication");
    await bench.stop();
  });

  it("while it is followed, and made anew by somebody before the run has looked again: it goes on", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    bench.start();
    await bench.assertSettled("after the load");
    const locker = await bench.sql.reserve();
    await locker`BEGIN`;
    // A look waits for no lock, but who reads the catalog does.
    await locker`LOCK TABLE book IN ACCESS EXCLUSIVE MODE`;
    // Only a look finds that: the stream has nothing to tell.
    await bench.write(`DROP PUBLICATION ${slotOf(bench)}`);
    await eventually(async () => {
      const rows = await bench.sql`SELECT FROM pg_stat_activity
        WHERE datname = ${bench.database.name} AND application_name = 'pgsync admin' AND wait_event_type = 'Lock'`;
      assert.notEqual(rows.length, 0);
    }, { what: "the run to look again" });
    await bench.write(
      `CREATE PUBLICATION ${slotOf(bench)} FOR ALL TABLES WITH (publish_via_partition_root = true)`,
    );
    await locker`ROLLBACK`;
    locker.release();
    await bench.write(...CHANGES);
    await bench.assertSettled("with another publication");
    await bench.stop();
  });

  it("halts a start that is told to halt", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    await bench.runOnce();
    await bench.write(`DROP PUBLICATION ${slotOf(bench)}`, ...CHANGES);
    const thrown = await failureOf(bench, { onSlotLoss: "halt" });
    isError("PUBLICATION_MISSING", thrown);
    await bench.runOnce();
    await bench.assertEqual("with another publication");
  });
});

describe("A checkpoint file of before", () => {
  it("is a loss: a run halts, also one that makes what is missing, unless it is asked to load anew", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    await bench.runOnce();
    const path = checkpointPath(bench.options, slotOf(bench));
    copyFileSync(path, `${path}.old`);
    await bench.write(...CHANGES);
    await bench.runOnce();
    const [slot] = await bench.sql<{ lsn: string }[]>`
      SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = ${slotOf(bench)}`;
    // Whatever it has noted: somebody has mended that, or could do without, and has gone on.
    for (const begun of [false, true]) {
      copyFileSync(`${path}.old`, path);
      {
        using file = Checkpoint.open(path);
        file.noteLoss({ code: "HISTORY_DIVERGED", reason: "Noted before.", begun, byName: false });
      }
      isLoss("CHECKPOINT_BEHIND", await failureOf(bench));
    }
    await eventually(async () => {
      const rows = await bench.sql`
        SELECT FROM pg_replication_slots
        WHERE slot_name = ${slotOf(bench)} AND clock_timestamp() - inactive_since > interval '35 s'`;
      assert.equal(rows.length, 1);
    }, { what: "the slot to be free for long", timeout: 60_000 });
    const began = performance.now();
    await bench.runOnce({ bootstrap: false, onSlotLoss: "resync" });
    assert.ok(performance.now() - began < 30_000, "it is not looked for longer who follows the slot");
    await bench.assertEqual("after another load");
    const [now] = await bench.sql<{ lsn: string }[]>`
      SELECT restart_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = ${slotOf(bench)}`;
    assert.ok(parseLsn(now?.lsn ?? "") >= parseLsn(slot?.lsn ?? ""), "it is another slot");
  });

  it("leaves the slot to whoever follows it, and a run that was replaced halts, whatever it may", async () => {
    const network = await startTcpProxy((await usePostgres(17)).url);
    await using bench = await Bench.open(17, SHOP, BOOKS);
    await bench.runOnce();
    const path = checkpointPath(bench.options, slotOf(bench));
    copyFileSync(path, `${path}.old`);
    bench.start({ bootstrap: false, postgres: optionsOf(throughProxy(bench.database.url, network)) });
    await bench.write(...CHANGES);
    await bench.assertSettled("the run that follows the slot");
    const folder = temporaryFolder("test");
    const options = {
      ...bench.options,
      checkpointFolder: folder,
      bootstrap: false,
      onSlotLoss: "resync" as const,
    };
    copyFileSync(`${path}.old`, checkpointPath(options, slotOf(bench)));
    const start = () => new Synchronizer(options).run({ signal: AbortSignal.timeout(60_000), daemon: true });
    const error = await start().then(() => null, (thrown: unknown) => thrown);
    isError("CHECKPOINT_BEHIND", error);
    assert.match(error.message, /The slot is not given up: .* in use by process \d+ \(pgsync stream\)/);
    // While it is away for a moment it is its slot all the same.
    await network.shut();
    await eventually(async () => {
      const [slot] = await bench.sql`SELECT active FROM pg_replication_slots WHERE slot_name = ${
        slotOf(bench)
      }`;
      assert.equal(slot?.["active"], false);
    }, { what: "the slot to be let go" });
    const again = start().then(() => null, (thrown: unknown) => thrown);
    await eventually(async () => {
      const rows = await bench.sql`SELECT FROM pg_stat_activity WHERE datname = ${bench.database.name}
        AND application_name = 'pgsync admin' AND query LIKE '%pg_replication_slots%'`;
      assert.equal(rows.length, 1);
    }, { what: "the other to look at the slot", interval: 1 });
    await network.open();
    isError("CHECKPOINT_BEHIND", await again);
    await bench.write("UPDATE book SET title = 'still followed'");
    await bench.assertSettled("the run that follows the slot still does");
    await bench.stop();
    await network.stop();
    removeFolder(folder);
  });
});

describe("A first start", () => {
  it("that did not come to its end is gone on with, also where losses are to halt it", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    await bench.sql.begin(async (sql) => {
      // The slot waits for its end.
      await sql`UPDATE book SET title = 'uncommitted' WHERE id = 1`;
      bench.start({ onSlotLoss: "halt" });
      await eventually(async () => {
        const rows = await bench.sql`SELECT FROM pg_stat_activity WHERE datname = ${bench.database.name}
          AND application_name = 'pgsync admin' AND query LIKE '%pg_create_logical_replication_slot%'
          AND state = 'active'`;
        assert.equal(rows.length, 1);
      }, { what: "the slot to be made" });
      await bench.stop();
      // Nobody tells the server, which would make the slot all the same.
      await eventually(async () => {
        await bench.sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = ${bench.database.name} AND application_name = 'pgsync admin'`;
        const rows = await bench.sql`SELECT FROM pg_replication_slots WHERE slot_name = ${slotOf(bench)}`;
        assert.equal(rows.length, 0);
      }, { what: "the unfinished slot to be gone" });
    });
    await bench.runOnce({ onSlotLoss: "halt" });
    await bench.assertEqual("after another start");
  });
});

describe("A start that is to load anew where changes are lost", () => {
  it("makes what is missing for it, without --bootstrap", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    await bench.runOnce();
    await bench.write(
      `SELECT pg_drop_replication_slot('${slotOf(bench)}')`,
      `DROP PUBLICATION ${slotOf(bench)}`,
      "ALTER TABLE rating REPLICA IDENTITY DEFAULT",
      ...CHANGES,
    );
    isLoss("SLOT_MISSING", await failureOf(bench, { onSlotLoss: "halt" }));
    bench.start({ bootstrap: false, onSlotLoss: "resync" });
    await bench.assertSettled("after the load");
    await bench.write("UPDATE rating SET book = 5 WHERE id = 7");
    await bench.assertSettled("a change that needs the replica identity");
    await bench.stop();
  });
});
