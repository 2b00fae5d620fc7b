/** What a PostgreSQL server does to those who follow it: each is survived, or told of by name. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import postgres from "postgres";
import { LEAST_BUDGET } from "../../src/memory/budget.ts";
import { connectPostgres } from "../../src/postgres/connect.ts";
import { parseLsn } from "../../src/replication/lsn.ts";
import { inspectSlot } from "../../src/replication/slot.ts";
import { SEARCH_DEFAULTS } from "../../src/search/options.ts";
import { Synchronizer } from "../../src/sync/synchronizer.ts";
import { Bench } from "../integration/support.ts";
import { optionsOf } from "../postgres/options.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { databasesOf, ownPostgres, usePostgres, withDatabase } from "../support/postgres.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";
import { BOOKS, faults, FEWER, heldBack, slotOf } from "./books.ts";
import { superuser } from "./library.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

const SHOP = `
  CREATE TABLE book (id int PRIMARY KEY, title text);
  CREATE TABLE rating (id int PRIMARY KEY, book int REFERENCES book, stars int);
  CREATE INDEX ON rating (book);
  INSERT INTO book SELECT n, 'book ' || n FROM generate_series(1, 500) AS n;
  INSERT INTO rating SELECT n, n, 5 FROM generate_series(1, 500) AS n`;
async function streams(bench: Bench): Promise<void> {
  await eventually(() => bench.synchronizer.status().databases[0]?.stream.connected === true, {
    what: "the stream to be there",
    timeout: 60_000,
  });
}

describe("Sessions that are terminated", () => {
  it("again and again, during the load and while changes stream in, are begun anew", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS, { loadChunkRows: 50, bulkDocuments: 20 });
    const admin = postgres((await usePostgres(17)).url, { max: 1, onnotice: () => {} });
    const terminate = () =>
      admin`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = ${bench.database.name} AND application_name LIKE 'pgsync %'`;
    bench.start();
    await eventually(() => bench.synchronizer.status().databases[0]?.phase === "loading", {
      what: "the load to begin",
      interval: 1,
    });
    for (let round = 0; round < 40; round++) {
      const id = 1_000 + round;
      await bench.write(
        `INSERT INTO book VALUES (${id}, 'new')`,
        `UPDATE rating SET book = ${id}, stars = ${round} WHERE id % 40 = ${round}`,
        `DELETE FROM rating WHERE id = ${round + 1}`,
        `UPDATE book SET title = 'round ${round}' WHERE id % 3 = ${round % 3}`,
      );
      await terminate();
    }
    await bench.assertSettled("when it is left alone");
    const told = new Set(faults(bench));
    assert.ok(
      told.size > 0 && told.isSubsetOf(new Set(["POSTGRES_UNREACHABLE", "SLOT_ACTIVE"])),
      [...told].join(),
    );
    await bench.stop();
    await admin.end();
  });
});

describe("A server that restarts", () => {
  it("during the load, cleanly and not: the load goes on where it was", async () => {
    const server = await ownPostgres();
    const engine = await startTcpProxy((await useElasticsearch()).url);
    await using bench = await Bench.open(databasesOf(server), SHOP, BOOKS, {
      search: { ...SEARCH_DEFAULTS, urls: [engine.url] },
      loadChunkRows: 100,
      bulkDocuments: 10,
      bulkConcurrency: 1,
      loadWorkers: 1,
    });
    await bench.write(
      "INSERT INTO book SELECT n, 'more ' || n FROM generate_series(1001, 6000) AS n",
      "ANALYZE",
    );
    bench.start();
    const load = () => bench.synchronizer.status().databases[0]?.indices[0]?.load;
    const done = () => load()?.chunksDone ?? 0;
    for (const mode of ["fast", "immediate"] as const) {
      const before = done();
      await eventually(() => done() > before, { what: "a chunk to be done", interval: 1 });
      // So that it is not done with all of them meanwhile.
      engine.delayAnswers(true);
      assert.equal(load()?.state, "running");
      const begun = performance.now();
      await server.halt(mode);
      assert.ok(performance.now() - begun < 9_000, `the ${mode} shutdown was held up`);
      const kept = done();
      await server.start();
      engine.delayAnswers(false);
      await streams(bench);
      assert.ok(done() >= kept, "chunks that are done stay done");
    }
    await bench.assertSettled("after both");
    await bench.stop();
    await engine.stop();
  });

  it("fast, while the stream is held back by the search engine: it is not held up", async () => {
    const server = await ownPostgres();
    const engine = await startTcpProxy((await useElasticsearch()).url);
    await using bench = await Bench.open(databasesOf(server), SHOP, BOOKS, {
      search: { ...SEARCH_DEFAULTS, urls: [engine.url] },
      maxMemoryBytes: LEAST_BUDGET,
    });
    bench.start();
    await bench.assertSettled("after the load");
    engine.delayAnswers(true);
    await heldBack(bench);
    const begun = performance.now();
    await server.halt("fast");
    assert.ok(performance.now() - begun < 9_000, "the shutdown was held up");
    await server.start();
    engine.delayAnswers(false);
    await bench.write(FEWER);
    await bench.assertSettled("after the restart");
    await bench.stop();
    await engine.stop();
  });
});

describe("A slot in use", () => {
  it("by another run is waited for, and who has it is named", async () => {
    await using bench = await Bench.open(17, SHOP, BOOKS);
    bench.start();
    await bench.assertSettled("after the load");
    const folder = temporaryFolder("test");
    const said: string[] = [];
    const second = new Synchronizer({ ...bench.options, checkpointFolder: folder }, (event) => {
      if (event.type === "retry" && event.fault.code === "SLOT_ACTIVE") said.push(event.fault.message);
    });
    const stop = new AbortController();
    const ended = second.run({ signal: stop.signal, daemon: true });
    await eventually(() => said.length > 0, { what: "the second run to meet the first" });
    assert.match(said[0] ?? "", /is in use by process \d+ \(pgsync stream\)\.$/);
    assert.equal(second.status().ready, false);
    await bench.write("UPDATE book SET title = 'by the first' WHERE id < 100");
    await bench.assertSettled("the first goes on");
    await bench.stop();
    await bench.write(
      "UPDATE book SET title = 'by the second' WHERE id > 400",
      "DELETE FROM rating WHERE book = 7",
    );
    const [row] = await bench.sql<
      { lsn: string }[]
    >`SELECT pg_logical_emit_message(true, 'test', '')::text AS lsn`;
    await eventually(() => {
      const { ready, databases: [status] } = second.status();
      assert.ok(ready && (status?.stream.confirmed ?? 0n) >= parseLsn(row?.lsn ?? ""));
    }, { what: "the second to take over", timeout: 60_000 });
    await bench.assertEqual("the second has taken over");
    stop.abort();
    await ended;
    removeFolder(folder);
  });
});

describe("A database that is renamed", () => {
  it("is waited for, and followed on when it has its name again", async () => {
    const proxy = await startTcpProxy((await useElasticsearch()).url);
    await using bench = await Bench.open(17, SHOP, BOOKS, {
      search: { ...SEARCH_DEFAULTS, urls: [proxy.url] },
    });
    const admin = postgres((await usePostgres(17)).url, { max: 1, onnotice: () => {} });
    bench.start();
    await bench.assertSettled("after the load");
    // Something is to be built when it is away.
    proxy.delayAnswers(true);
    for (let round = 0; round < 10; round++) {
      await bench.write(
        `UPDATE book SET title = 'before ${round}'`,
        `DELETE FROM rating WHERE id = ${round}`,
      );
    }
    const [row] = await bench.sql<
      { lsn: string }[]
    >`SELECT pg_logical_emit_message(true, 'test', '')::text AS lsn`;
    await eventually(() => {
      const { received = 0n } = bench.synchronizer.status().databases[0]?.stream ?? {};
      assert.ok(received >= parseLsn(row?.lsn ?? ""));
    }, { what: "the changes to be received" });
    const { name } = bench.database;
    const rename = (from: string, to: string) =>
      eventually(async () => {
        await admin`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ${from}`;
        await admin.unsafe(`ALTER DATABASE ${from} RENAME TO ${to}`);
      }, { what: `${from} to be renamed`, interval: 1 });
    await rename(name, `${name}_old`);
    const there = postgres(withDatabase(bench.database.url, `${name}_old`), { max: 1, onnotice: () => {} });
    await there`UPDATE book SET title = 'under another name' WHERE id < 50`;
    await there.end();
    proxy.delayAnswers(false);
    const missedBy = (of: "replication" | "postgresql") =>
      bench.events.some((event) =>
        event.type === "retry" && event.of === of && event.fault.code === "POSTGRES_LOGIN"
      );
    await eventually(() => missedBy("replication") && missedBy("postgresql"), {
      what: "it to be missed by the stream, and by what builds",
      timeout: 60_000,
    });
    assert.match(
      bench.synchronizer.status().databases[0]?.faults.at(-1)?.remedy ?? "",
      /give it its name again/,
    );
    assert.equal(bench.synchronizer.status().ready, false);
    await rename(`${name}_old`, name);
    await bench.write("UPDATE book SET title = 'under its own name' WHERE id > 450");
    await bench.assertSettled("with its name again");
    await bench.stop();
    await admin.end();
    await proxy.stop();
  });
});

describe("Walsenders that are all taken", () => {
  it("are named at a start, and waited for by a run", async () => {
    const server = await ownPostgres({ settings: { max_wal_senders: "2" } });
    await using bench = await Bench.open(databasesOf(server), SHOP, BOOKS);
    const others = ["one", "two"].map((purpose) =>
      connectPostgres(optionsOf(server.url), { database: "postgres", purpose, max: 1, kind: "replication" })
    );
    bench.start();
    await bench.assertSettled("after the load");
    const admin = superuser(server);
    // Whoever is quicker has its place.
    await eventually(async () => {
      await admin`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgsync stream'`;
      for (const other of others) await other.unsafe("IDENTIFY_SYSTEM");
    }, { what: "others to take all walsenders", interval: 1 });
    await eventually(() => assert.ok(faults(bench).includes("POSTGRES_BUSY")), { what: "it to be told" });
    await bench.write("UPDATE book SET title = 'without a walsender' WHERE id < 50");
    // Nor does that end a run that has to map its documents anew.
    await bench.write("ALTER TABLE book ADD COLUMN pages int DEFAULT 7");
    const busy = () => faults(bench).filter((code) => code === "POSTGRES_BUSY").length;
    await eventually(() => /mapped/.test(bench.synchronizer.status().databases[0]?.notReady.join() ?? ""), {
      what: "the documents to be mapped anew",
    });
    const before = busy();
    await eventually(() => busy() > before + 2, { what: "the stream to be missed again", timeout: 60_000 });
    await assert.rejects(
      new Synchronizer({ ...bench.options, checkpointFolder: temporaryFolder("test") })
        .run({ signal: AbortSignal.timeout(60_000), daemon: false }),
      { code: "SLOTS_EXHAUSTED", message: /walsenders are taken \(max_wal_senders\)/ },
    );
    for (const other of others) await other.end({ timeout: 0 });
    await bench.assertSettled("with a walsender again");
    await bench.stop();
    await admin.end();
  });
});

describe("An idle database beside a busy one", () => {
  it("confirms what the other wrote: its slot keeps no WAL", async () => {
    const server = await ownPostgres();
    await using bench = await Bench.open(databasesOf(server), SHOP, BOOKS);
    bench.start();
    await bench.assertSettled("after the load");
    const busy = superuser(server);
    await busy`CREATE TABLE noise (text text)`;
    for (let round = 0; round < 3; round++) {
      await busy`INSERT INTO noise SELECT repeat(md5(n::text), 30) FROM generate_series(1, 20000) AS n`;
      const [row] = await busy<{ lsn: string }[]>`SELECT pg_current_wal_lsn()::text AS lsn`;
      await eventually(async () => {
        const slot = await inspectSlot(busy, slotOf(bench));
        assert.ok((slot?.confirmedFlushLsn ?? 0n) >= parseLsn(row?.lsn ?? ""));
        // What is kept goes by what was running then, of which the server tells at a checkpoint, too.
        await busy`CHECKPOINT`;
        const { retainedBytes = Infinity } = bench.synchronizer.status().databases[0]?.stream ?? {};
        assert.ok(retainedBytes < 1e6, `${retainedBytes} bytes are kept`);
      }, { what: `the slot to move, round ${round}`, interval: 200, timeout: 60_000 });
    }
    await bench.stop();
    await busy.end();
  });
});

describe("Two-phase commit", () => {
  it("shows what is prepared when it is committed, and what is rolled back never", async () => {
    const server = await ownPostgres({ settings: { max_prepared_transactions: "10" } });
    await using bench = await Bench.open(databasesOf(server), SHOP, BOOKS);
    bench.start();
    await bench.assertSettled("after the load");
    const session = postgres(bench.database.url, { max: 1, onnotice: () => {} });
    const prepare = async (gid: string, ...statements: readonly string[]) => {
      for (const statement of ["BEGIN", ...statements, `PREPARE TRANSACTION '${gid}'`]) {
        await session.unsafe(statement);
      }
    };
    await prepare(
      "kept",
      "UPDATE book SET title = 'prepared' WHERE id = 1",
      "DELETE FROM rating WHERE book = 2",
    );
    await prepare(
      "moved",
      "UPDATE rating SET book = 4 WHERE id = 3",
      "INSERT INTO book VALUES (900, 'prepared')",
    );
    await prepare(
      "dropped",
      "UPDATE book SET title = 'never' WHERE id = 5",
      "DELETE FROM rating WHERE book = 6",
    );
    await bench.write("UPDATE book SET title = 'meanwhile' WHERE id = 7");
    await bench.assertSettled("while three are prepared");
    await bench.write("COMMIT PREPARED 'kept'");
    await bench.assertSettled("one is committed");
    await bench.stop();
    await bench.write("COMMIT PREPARED 'moved'", "ROLLBACK PREPARED 'dropped'");
    bench.start();
    await bench.assertSettled("one is committed while nothing runs, one is rolled back");
    await bench.stop();
    await session.end();
  });
});
