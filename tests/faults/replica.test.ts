/** A whole run that reads from a hot standby: load, stream, restarts, and what can be wrong with the standby. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type postgres from "postgres";
import { LEAST_BUDGET } from "../../src/memory/budget.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import type { Bench } from "../integration/support.ts";
import { optionsOf } from "../postgres/options.ts";
import { eventually } from "../support/eventually.ts";
import { ownPostgres, ownStandby } from "../support/postgres.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";
import { CHANGES, openLibrary, superuser } from "./library.ts";

/** The sessions of a run on a server, by what they are for. */
async function purposes(bench: Bench, server: postgres.Sql): Promise<string[]> {
  const rows = await server<{ name: string }[]>`
    SELECT DISTINCT application_name AS name FROM pg_stat_activity
    WHERE datname = ${bench.database.name} AND application_name LIKE 'pgsync %' ORDER BY 1`;
  return rows.map(({ name }) => name.replace("pgsync ", ""));
}

for (const major of [13, 17] as const) {
  test(`PostgreSQL ${major}: load, stream, fan-out, TRUNCATE; from replica to primary and back`, async () => {
    const primary = await ownPostgres({ major });
    const standby = await ownStandby(primary);
    const [writer, reader] = [superuser(primary), superuser(standby)];
    {
      await using bench = await openLibrary(primary, standby, { loadChunkRows: 100 });
      await bench.write(
        "INSERT INTO book SELECT n, 'book ' || n FROM generate_series(1000, 3000) AS n",
        "INSERT INTO book_author SELECT n, 10 FROM generate_series(1000, 3000) AS n",
      );
      await bench.runOnce();
      await bench.assertEqual("after a run that loads and ends");
      await bench.write("UPDATE book SET title = title || ', later' WHERE id % 3 = 0");
      bench.start();
      await bench.assertSettled("what was changed meanwhile");
      await bench.write("UPDATE author SET name = 'of thousands' WHERE id = 10");
      await bench.assertSettled("a fan-out");
      assert.deepEqual(await purposes(bench, reader), ["build", "lookup", "watch"]);
      const onPrimary = await purposes(bench, writer);
      assert.ok(onPrimary.includes("clock") && !onPrimary.includes("build") && !onPrimary.includes("lookup"));
      const readings = [null, optionsOf(standby.url)];
      const steps = Object.entries(CHANGES).entries();
      for (const [at, [what, statements]] of steps) {
        if (at % 3 === 2) {
          await bench.stop();
          await bench.write("UPDATE book SET title = title || '.' WHERE id IN (1, 5, 20)", ...statements);
          bench.start({ postgresReplica: readings[(at - 2) / 3 % 2] ?? null });
        } else await bench.write(...statements);
        await bench.assertSettled(what);
      }
    }
    await Promise.all([writer.end(), reader.end()]);
    await standby.stop("immediate");
    await primary.stop("immediate");
  });
}

test("a standby that goes away is waited for with bounded memory, and /ready says why", async () => {
  const primary = await ownPostgres();
  const standby = await ownStandby(primary);
  const writer = superuser(primary);
  {
    await using bench = await openLibrary(primary, standby, { maxMemoryBytes: LEAST_BUDGET });
    bench.start();
    await bench.assertSettled("after the initial load");
    await standby.kill();
    await eventually(() => {
      const [state] = bench.synchronizer.status().databases;
      assert.match(state?.notReady.join() ?? "", /cannot be read from the replica: .*cannot be reached/);
    });
    const batches = "SELECT n, repeat('many ', 200) FROM generate_series";
    await bench.write(
      "UPDATE book SET title = title || '!'",
      `INSERT INTO book ${batches}(1001, 15000) AS n`,
      `INSERT INTO book ${batches}(15001, 30000) AS n`,
    );
    await eventually(async () => {
      const rows = await writer`
        SELECT FROM pg_stat_activity
        WHERE datname = ${bench.database.name} AND backend_type = 'walsender' AND wait_event = 'WalSenderWriteData'`;
      assert.equal(rows.length, 1);
    }, { what: "the server's sender to stand still, for nobody takes what it sends" });
    await standby.start();
    await bench.settled();
    await bench.write("DELETE FROM book WHERE id > 1000");
    await bench.assertSettled("when it is back");
    const told = bench.events.filter((event) =>
      event.type === "retry" && event.fault.code === "POSTGRES_UNREACHABLE"
    );
    assert.ok(told.length > 0);
  }
  await writer.end();
  await standby.stop("immediate");
  await primary.stop("immediate");
});

test("a database that the standby does not know yet is waited for", async () => {
  const primary = await ownPostgres();
  const standby = await ownStandby(primary);
  const reader = superuser(standby);
  {
    await reader`SELECT pg_wal_replay_pause()`;
    await using bench = await openLibrary(primary, standby);
    bench.start();
    await eventually(() => {
      const [state] = bench.synchronizer.status().databases;
      assert.match(state?.notReady.join() ?? "", /has no database/);
    }, { what: "the standby to lack the database" });
    await reader`SELECT pg_wal_replay_resume()`;
    await bench.assertSettled("when the standby has it");
  }
  await reader.end();
  await standby.stop("immediate");
  await primary.stop("immediate");
});

test("a statement that a conflict with recovery cancels is repeated", async () => {
  const primary = await ownPostgres();
  const standby = await ownStandby(primary, { settings: { max_standby_streaming_delay: "0" } });
  const reader = superuser(standby);
  {
    await using bench = await openLibrary(primary, standby);
    const proxy = await startTcpProxy(bench.searchUrl);
    await bench.write(
      "INSERT INTO book SELECT n, repeat('long ', 20000) FROM generate_series(1000, 1300) AS n",
    );
    bench.start({ search: { ...bench.options.search, urls: [proxy.url] } });
    await eventually(() => {
      const [index] = bench.synchronizer.status().databases[0]?.indices ?? [];
      assert.ok(index !== undefined && index.load.documents > 0);
      assert.equal(index.load.state, "running");
    }, { interval: 1, what: "the load to be under way" });
    // Not for long, or the load would give up its COPY by itself.
    proxy.delayAnswers(true);
    await eventually(async () => {
      const rows = await reader`
        SELECT FROM pg_stat_activity WHERE application_name = 'pgsync load' AND wait_event = 'ClientWrite'`;
      assert.ok(rows.length > 0);
    }, { what: "the standby to wait until its rows are taken" });
    await bench.sql.begin(async (transaction) => {
      await transaction`LOCK TABLE book`;
      await transaction`UPDATE book SET title = 'short' WHERE id > 1150`;
    });
    proxy.delayAnswers(false);
    await bench.assertSettled("after the initial load");
    const conflict = bench.events.find((event) =>
      event.type === "retry" && event.fault.code === "POSTGRES_BUSY"
    );
    assert.ok(conflict?.type === "retry");
    assert.match(conflict.fault.message, /conflict with recovery/);
    assert.match(conflict.fault.remedy, /hot_standby_feedback/);
    await bench.stop();
    await proxy.stop();
  }
  await reader.end();
  await standby.stop("immediate");
  await primary.stop("immediate");
});

test("a server that is no standby of the primary is refused before anything is made; one that is promoted ends the run", async () => {
  const [primary, stranger] = await Promise.all([ownPostgres(), ownPostgres()]);
  const standby = await ownStandby(primary);
  {
    await using bench = await openLibrary(primary, standby);
    const unfit = (message: RegExp) => (error: unknown) =>
      error instanceof PgsyncError && error.code === "REPLICA_UNFIT" && message.test(error.message);
    await assert.rejects(
      bench.runOnce({ postgresReplica: optionsOf(primary.url) }),
      unfit(/is not a standby, or is one no more/),
    );
    const other = superuser(stranger);
    await other.unsafe(`CREATE DATABASE ${bench.database.name}`);
    await assert.rejects(
      bench.runOnce({ postgresReplica: optionsOf(stranger.url) }),
      unfit(/another cluster/),
    );
    assert.equal((await bench.sql`SELECT FROM pg_replication_slots`).length, 0, "no slot holds WAL");
    await other.end();
    bench.start();
    await bench.assertSettled("with the right one");
    const promoter = superuser(standby);
    await promoter`SELECT pg_promote()`;
    await promoter.end();
    assert.ok(unfit(/was promoted/)(await bench.failure()));
  }
  await standby.stop("immediate");
  await Promise.all([primary.stop("immediate"), stranger.stop("immediate")]);
});
