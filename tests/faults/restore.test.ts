/** An older state of the server is restored on its own timeline, and writes beyond the position before a run looks. */
import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { describe, it } from "node:test";
import type { PostgresServer } from "../../scripts/servers/postgres.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { checkpointPath } from "../../src/sync/setup/checkpoint_path.ts";
import { z } from "zod";
import { parseLsn } from "../../src/replication/lsn.ts";
import { Bench } from "../integration/support.ts";
import { Vandal } from "../verify/damage.ts";
import { databasesOf, ownPostgres, withDatabase } from "../support/postgres.ts";
import { BOOKS, CHANGES, copyFolder, faults, loads, openNamed, SHOP, slotOf } from "./books.ts";
import { superuser } from "./library.ts";

/** Writes on the server itself: what the name leads to may be cut. */
async function writeAt(
  server: PostgresServer,
  bench: Bench,
  ...statements: readonly string[]
): Promise<void> {
  const sql = superuser({ ...server, url: withDatabase(server.url, bench.database.name) });
  for (const statement of statements) await sql.unsafe(statement);
  await sql.end();
}

/** WAL in which no row is. */
const far = (bytes: number) => `SELECT pg_logical_emit_message(false, 'test', repeat('x', ${bytes}))`;

/** What only the restored server knows, beyond all that the lost one had written. */
const INSTEAD = [
  "INSERT INTO book VALUES (200, 'after the restore')",
  "UPDATE book SET title = 'after the restore' WHERE id = 20",
  "DELETE FROM rating WHERE book = 5",
  far(30_000_000),
];

/** Ends the server, and has it begin anew from a copy of before. */
async function restore(server: PostgresServer, from: string): Promise<void> {
  await server.kill();
  renameSync(server.dataDirectory, `${server.dataDirectory}.lost`);
  renameSync(from, server.dataDirectory);
  await server.start();
}

async function snapshot(server: PostgresServer): Promise<string> {
  const copy = `${server.dataDirectory}.copy`;
  await server.halt();
  await copyFolder(server.dataDirectory, copy);
  await server.start();
  return copy;
}

for (const major of [15, 17] as const) {
  describe(`A server (${major}) that is restored and has written beyond the position`, () => {
    it("while no run was there: the documents are compared", async () => {
      const server = await ownPostgres({ major });
      await using bench = await Bench.open(databasesOf(server), SHOP, BOOKS);
      await bench.runOnce();
      const loaded = loads(bench);
      const copy = await snapshot(server);
      await writeAt(server, bench, ...CHANGES, far(10_000_000));
      await bench.runOnce({ bootstrap: false });
      await bench.assertEqual("before the restore");
      await restore(server, copy);
      await writeAt(server, bench, ...INSTEAD);
      await bench.runOnce({ bootstrap: false });
      await bench.assertEqual("after the restore");
      assert.equal(loads(bench), loaded, "nothing was loaded anew");
      await new Vandal(bench).remove("11");
      await bench.runOnce({ bootstrap: false });
      await assert.rejects(bench.assertEqual("compared once"));
    });

    it("while a run waited for it: the documents are compared", async () => {
      const server = await ownPostgres({ major });
      const { bench, name } = await openNamed(server);
      await using _bench = bench;
      await bench.runOnce();
      const copy = await snapshot(server);
      bench.start({ bootstrap: false });
      await bench.assertSettled("after the load");
      await writeAt(server, bench, ...CHANGES, far(10_000_000));
      await bench.assertSettled("before the restore");
      await name.shut();
      name.cut();
      await restore(server, copy);
      await writeAt(server, bench, ...INSTEAD);
      await name.open();
      await bench.assertSettled("after the restore");
      assert.deepEqual([...new Set(faults(bench))], ["POSTGRES_UNREACHABLE"]);
      await bench.stop();
    });
  });
}

it("a server that crashed and forgot how far its slot was confirmed sends what was taken again: nothing is compared", async () => {
  const server = await ownPostgres({ major: 15 });
  await using bench = await Bench.open(databasesOf(server), SHOP, BOOKS);
  await bench.runOnce();
  await writeAt(server, bench, ...CHANGES);
  await bench.runOnce({ bootstrap: false });
  await server.kill();
  await server.start();
  {
    using file = Checkpoint.open(checkpointPath(bench.options, slotOf(bench)));
    const [slot] = await bench.sql`
      SELECT confirmed_flush_lsn::text AS confirmed FROM pg_replication_slots WHERE slot_name = ${
      slotOf(bench)
    }`;
    const last = file.lastCommit();
    assert.ok(
      last !== null && parseLsn(z.string().parse(slot?.["confirmed"])) <= last.lsn,
      "it was forgotten",
    );
  }
  await new Vandal(bench).remove("11");
  await writeAt(server, bench, "INSERT INTO book VALUES (201, 'after the crash')");
  await bench.runOnce({ bootstrap: false });
  await assert.rejects(bench.assertEqual("nothing was compared"), /11/);
});
