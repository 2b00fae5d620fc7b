/** Changes that nobody will tell of any more: a run halts by name, or begins a new slot and loads anew in place, as it was asked to. */
import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { ErrorCode } from "../../src/errors/codes.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import { parseLsn } from "../../src/replication/lsn.ts";
import { SEARCH_DEFAULTS } from "../../src/search/options.ts";
import { checkpointPath } from "../../src/sync/checkpoint_path.ts";
import { Bench } from "../integration/support.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { databasesOf, ownPostgres } from "../support/postgres.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";

const SHOP = `
  CREATE TABLE book (id int PRIMARY KEY, title text);
  CREATE TABLE rating (id int PRIMARY KEY, book int REFERENCES book, stars int);
  INSERT INTO book SELECT n, 'book ' || n FROM generate_series(1, 50) AS n;
  INSERT INTO rating SELECT n, n, 5 FROM generate_series(1, 50) AS n`;
const BOOKS = `
table: book
children:
  - {table: rating, label: ratings, relationship: {variant: object, type: one_to_many}}`;

/** A row comes, one goes, one moves. */
const CHANGES = [
  "INSERT INTO book VALUES (100, 'new')",
  "DELETE FROM rating WHERE book = 2",
  "DELETE FROM book WHERE id = 2",
  "UPDATE rating SET book = 4 WHERE id = 3",
];

const slotOf = (bench: Bench) => `pgsync_${bench.database.name}`;

function isError(code: ErrorCode, thrown: unknown): asserts thrown is PgsyncError {
  assert.ok(thrown instanceof PgsyncError, String(thrown));
  assert.equal(thrown.code, code, thrown.message);
  assert.match(thrown.remedy, /--on-slot-loss resync/);
}

/** How often a new slot was begun, by what was told of. */
function resyncs(bench: Bench, code: ErrorCode): number {
  return bench.events.filter((event) =>
    event.type === "retry" && event.fault.code === code && /A new slot is made/.test(event.fault.remedy)
  ).length;
}

async function dropSlot(bench: Bench): Promise<void> {
  await eventually(async () => {
    const name = slotOf(bench);
    await bench
      .sql`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = ${name}`;
    await bench.sql`SELECT pg_drop_replication_slot(${name})`;
  }, { what: "the slot to be dropped", interval: 1 });
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
    isError("SLOT_MISSING", await bench.failure());
    for (const changes of [{ onSlotLoss: "halt" }, { bootstrap: false }] as const) {
      isError("SLOT_MISSING", await bench.runOnce(changes).catch((error: unknown) => error));
    }
    await bench.runOnce();
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
    isError("SLOT_LOST", await bench.runOnce({ bootstrap: false }).catch((error: unknown) => error));
    bench.start();
    await bench.assertSettled("after a start that may make another");
    assert.equal(resyncs(bench, "SLOT_LOST"), 1);

    await proxy.shut();
    await bench.write("UPDATE book SET title = 'held up' WHERE id < 20", "DELETE FROM rating WHERE id = 30");
    await lose(bench);
    await eventually(() => resyncs(bench, "SLOT_LOST") === 2, { what: "the run to notice" });
    await proxy.open();
    await bench.assertSettled("after it was held up");

    await bench.stop();
    bench.start({ bootstrap: false });
    await bench.settled();
    await proxy.shut();
    await bench.write("UPDATE book SET title = 'held up again'");
    await lose(bench);
    isError("SLOT_LOST", await bench.failure());
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

  it("halts a start that is told to halt", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    await bench.runOnce();
    await bench.write(`DROP PUBLICATION ${slotOf(bench)}`, ...CHANGES);
    const thrown = await bench.runOnce({ onSlotLoss: "halt" }).catch((error: unknown) => error);
    assert.ok(thrown instanceof PgsyncError && thrown.code === "PUBLICATION_MISSING", String(thrown));
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
    copyFileSync(`${path}.old`, path);
    isError("CHECKPOINT_BEHIND", await bench.runOnce().catch((error: unknown) => error));
    await bench.runOnce({ bootstrap: false, onSlotLoss: "resync" });
    await bench.assertEqual("after another load");
    const [now] = await bench.sql<{ lsn: string }[]>`
      SELECT restart_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = ${slotOf(bench)}`;
    assert.ok(parseLsn(now?.lsn ?? "") >= parseLsn(slot?.lsn ?? ""), "it is another slot");
  });
});
