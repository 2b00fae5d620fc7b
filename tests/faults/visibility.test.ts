/**
 * The stream carries a commit while it waits for a synchronous standby, and no other session sees it yet. A document built
 * meanwhile would show the old state for ever. Where documents are read from a hot standby, that one shows the commit
 * before the primary does.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { eventually } from "../support/eventually.ts";
import { ownPostgres, ownStandby } from "../support/postgres.ts";
import { HeldCommits, NOBODY_ANSWERS } from "./held_commits.ts";
import { CHANGES, everyDocument, lookedAgain, openLibrary, received, superuser } from "./library.ts";

const MORE_CHANGES: typeof CHANGES = {
  "a transaction that took a part of it back": [
    "BEGIN; UPDATE book SET title = 'kept' WHERE id = 14; SAVEPOINT s; UPDATE book SET title = 'no' WHERE id = 15; " +
    "ROLLBACK TO s; UPDATE review SET book_id = 14 WHERE book_id = 16; COMMIT",
  ],
  "a row inserted and deleted in one": [
    "BEGIN; INSERT INTO book VALUES (50, 'x'); DELETE FROM book WHERE id = 50; COMMIT",
  ],
};

describe("a commit that waits for a synchronous standby", () => {
  for (const reading of ["primary", "replica"] as const) {
    it(`is not built before the primary shows it; documents are read from the ${reading}`, async () => {
      const server = await ownPostgres({ settings: NOBODY_ANSWERS });
      const standby = reading === "replica" ? await ownStandby(server) : null;
      const admin = superuser(server);
      {
        await using bench = await openLibrary(server, standby);
        bench.start();
        await bench.assertSettled("after the initial load");
        for (const [what, statements] of Object.entries({ ...MORE_CHANGES, ...CHANGES })) {
          const before = await everyDocument(bench);
          const held = await HeldCommits.start(bench.database.url, admin, statements);
          const committed = await received(bench, admin);
          await lookedAgain(bench, admin, reading === "primary" ? "build" : "clock");
          assert.deepEqual(await everyDocument(bench), before, `${what}: not to be seen yet`);
          const confirmed = bench.synchronizer.status().databases[0]?.stream.confirmed ?? 0n;
          assert.ok(confirmed < committed, `${what}: not to be confirmed yet`);
          // They become visible in another order than that of the stream.
          for (let at = held.count - 1; at > 0; at--) await held.release(at);
          await held.terminate(0);
          await bench.assertSettled(what);
        }
      }
      await admin.end();
      await standby?.stop("immediate");
      await server.stop("immediate");
    });
  }

  it("is not lost where a run reads from the replica, which shows it, and the next from the primary, which does not", async () => {
    const server = await ownPostgres({ settings: NOBODY_ANSWERS });
    const standby = await ownStandby(server);
    const admin = superuser(server);
    {
      await using bench = await openLibrary(server, standby);
      bench.start();
      await bench.assertSettled("after the initial load");
      const held = await HeldCommits.start(bench.database.url, admin, [
        "UPDATE book SET title = 'held' WHERE id = 1",
      ]);
      await received(bench, admin);
      await lookedAgain(bench, admin, "clock");
      await bench.stop();
      bench.start({ postgresReplica: null });
      await received(bench, admin);
      // It builds the same document, and does not wait for the other.
      await bench.write("INSERT INTO review VALUES (200, 1, 'beside it')");
      const [books] = bench.schema.documents;
      assert.ok(books !== undefined);
      await eventually(async () => {
        const [documents] = await everyDocument(bench);
        assert.match(JSON.stringify(documents?.get("1")), /beside it/);
      });
      await held.release(0);
      await bench.assertSettled("when it is shown");
    }
    await admin.end();
    await standby.stop("immediate");
    await server.stop("immediate");
  });

  it("is not lost to the version of a document that was read from the primary, when the next run reads from a replica that is behind", async () => {
    const server = await ownPostgres({ settings: NOBODY_ANSWERS });
    const standby = await ownStandby(server);
    const [admin, reader] = [superuser(server), superuser(standby)];
    {
      await using bench = await openLibrary(server, standby);
      bench.start({ postgresReplica: null });
      await bench.assertSettled("after the initial load");
      const first = await HeldCommits.start(bench.database.url, admin, [
        "UPDATE review SET body = 'first' WHERE id = 80",
      ]);
      await received(bench, admin);
      await lookedAgain(bench, admin, "build");
      const second = await HeldCommits.start(bench.database.url, admin, [
        "UPDATE book SET title = 'second' WHERE id = 1",
      ]);
      const committed = await received(bench, admin);
      await eventually(async () => {
        const [row] =
          await reader`SELECT pg_last_wal_replay_lsn() > ${committed.toString()}::numeric + '0/0'::pg_lsn AS there`;
        assert.equal(row?.["there"], true);
      }, { what: "the standby to replay both" });
      await reader`SELECT pg_wal_replay_pause()`;
      await bench.write("SELECT pg_logical_emit_message(true, 'test', repeat('x', 100000))");
      // Built at a position beyond the second commit, which the primary does not show yet, and beyond the standby's own.
      await first.release(0);
      await eventually(async () => {
        const [documents] = await everyDocument(bench);
        assert.match(JSON.stringify(documents?.get("1")), /"first"/);
      });
      await bench.stop();
      await second.release(0);

      bench.start();
      await eventually(() => {
        const [state] = bench.synchronizer.status().databases;
        assert.match(state?.notReady.join() ?? "", /from the replica: The standby at .* bytes short of/);
      });
      await reader`SELECT pg_wal_replay_resume()`;
      await bench.assertSettled("when the standby has come as far");
    }
    await Promise.all([admin.end(), reader.end()]);
    await standby.stop("immediate");
    await server.stop("immediate");
  });
});
