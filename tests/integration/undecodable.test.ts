/**
 * WAL that PostgreSQL cannot decode: it fails at the same place for ever. Two tables that share a relfilenumber in the catalog
 * do what DDL in savepoints that are rolled back does now and then (liveness.ts).
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { eventually } from "../support/eventually.ts";
import { Bench } from "./support.ts";

const DDL = `
  CREATE TABLE book (id int PRIMARY KEY, title text);
  CREATE TABLE other (id int);
  INSERT INTO book VALUES (1, 'first'), (2, 'second'), (3, 'third')`;

/** Writes what cannot be decoded: a row comes, one goes, one changes. */
async function writeUndecodable({ sql }: Bench): Promise<void> {
  const share = (table: string) =>
    sql`UPDATE pg_class SET relfilenode = (SELECT relfilenode FROM pg_class WHERE oid = ${table}::regclass)
      WHERE oid = 'other'::regclass`;
  const [before] = await sql<{ node: string }[]>`
    SELECT relfilenode::text AS node FROM pg_class WHERE oid = 'other'::regclass`;
  await share("book");
  await sql.begin(async (transaction) => {
    await transaction`INSERT INTO book VALUES (4, 'fourth')`;
    await transaction`DELETE FROM book WHERE id = 1`;
    await transaction`UPDATE book SET title = 'changed' WHERE id = 2`;
  });
  await sql`UPDATE pg_class SET relfilenode = ${before?.node ?? ""}::oid WHERE oid = 'other'::regclass`;
}

test("a run that makes what is missing makes a slot beyond it, and loads anew", async () => {
  await using bench = await Bench.open(17, DDL, "table: book");
  bench.start();
  await bench.assertSettled("after the load");
  await writeUndecodable(bench);
  await eventually(
    () =>
      bench.synchronizer.status().notReady.some((reason) =>
        /is given up, and the documents are loaded anew/.test(reason)
      ),
    {
      what: "the run to give the slot up",
      timeout: 120_000,
      interval: 5,
    },
  );
  await bench.assertSettled("beyond it");
  await bench.sql`INSERT INTO book VALUES (5, 'fifth')`;
  await bench.assertSettled("after a change");
  await bench.stop();
});

test("a run that makes nothing halts, and one that does goes on from there", async () => {
  await using bench = await Bench.open(15, DDL, "table: book");
  await bench.runOnce();
  await writeUndecodable(bench);
  bench.start({ bootstrap: false });
  const error = await bench.failure(120_000);
  assert.ok(error instanceof PgsyncError);
  assert.equal(error.code, "DECODING_FAILED");
  assert.equal(error.next, "resync");
  assert.match(
    error.message,
    /^After [0-9A-F]+\/[0-9A-F]+, \d times in a row: PostgreSQL at .* could not stream from the slot "pgsync_\w+" now: /,
  );
  bench.start();
  await bench.assertSettled("after a new start");
  await bench.stop();
});
