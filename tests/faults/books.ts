/** A document of two tables, and what tests of PostgreSQL's faults ask of a run that keeps it. */
import assert from "node:assert/strict";
import { after } from "node:test";
import type { PostgresServer } from "../../scripts/servers/postgres.ts";
import { runToEnd } from "../../scripts/servers/process.ts";
import type { ErrorCode } from "../../src/errors/codes.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import type { RunOptions } from "../../src/sync/options.ts";
import { Bench } from "../integration/support.ts";
import { eventually } from "../support/eventually.ts";
import { databasesOf, throughProxy } from "../support/postgres.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp_proxy.ts";
import { superuser } from "./library.ts";

/** Root and child tables, with 50 rows each. */
export const SHOP = `
  CREATE TABLE book (id int PRIMARY KEY, title text);
  CREATE TABLE rating (id int PRIMARY KEY, book int REFERENCES book, stars int);
  INSERT INTO book SELECT n, 'book ' || n FROM generate_series(1, 50) AS n;
  INSERT INTO rating SELECT n, n, 5 FROM generate_series(1, 50) AS n`;

/** The nodes of their document. */
export const BOOKS = `
table: book
children:
  - {table: rating, label: ratings, relationship: {variant: object, type: one_to_many}}`;

/** A row comes, one goes, one changes, one moves. */
export const CHANGES = [
  "INSERT INTO book VALUES (100, 'new')",
  "DELETE FROM rating WHERE book = 2",
  "DELETE FROM book WHERE id = 2",
  "UPDATE book SET title = 'changed' WHERE id = 3",
  "UPDATE rating SET book = 4 WHERE id = 3",
];

/** Name of slot and publication. */
export function slotOf(bench: Bench): string {
  return `pgsync_${bench.database.name}`;
}

/** Asserts that an error is one of ours with this code. */
export function isError(code: ErrorCode, thrown: unknown): asserts thrown is PgsyncError {
  assert.ok(thrown instanceof PgsyncError, String(thrown));
  assert.equal(thrown.code, code, thrown.message);
}

/** What a run ends with that is to end by itself. */
export async function failureOf(bench: Bench, changes: Partial<RunOptions> = {}): Promise<unknown> {
  return await bench.runOnce(changes).then(() => null, (error: unknown) => error);
}

/** The faults that were told of and tried again. */
export function faults(bench: Bench): ErrorCode[] {
  return bench.events.flatMap((event) => event.type === "retry" ? [event.fault.code] : []);
}

/** How many loads were finished. */
export function loads(bench: Bench): number {
  return bench.events.filter((event) => event.type === "load" && event.load.state === "done").length;
}

/** How often a new slot was begun for such a loss, by what was told of. */
export function resyncs(bench: Bench, code: ErrorCode): number {
  return bench.events.filter((event) =>
    event.type === "retry" && event.fault.code === code && /A new slot is made/.test(event.fault.remedy)
  ).length;
}

/** Drops the slot under a run. */
export async function dropSlot(bench: Bench): Promise<void> {
  await eventually(async () => {
    const name = slotOf(bench);
    await bench
      .sql`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = ${name}`;
    await bench.sql`SELECT pg_drop_replication_slot(${name})`;
  }, { what: "the slot to be dropped", interval: 1 });
}

const names: TcpProxy[] = [];
after(async () => {
  for (const name of names) await name.stop();
});

/** A database that is reached by a name which can be given to another server. */
export async function openNamed(
  server: PostgresServer,
  changes: Partial<RunOptions> = {},
): Promise<{ readonly bench: Bench; readonly name: TcpProxy }> {
  const name = await startTcpProxy(server.url);
  names.push(name);
  const bench = await Bench.open(databasesOf({ url: throughProxy(server.url, name) }), SHOP, BOOKS, changes);
  return { bench, name };
}

/** Waits until a standby has replayed all that the primary has written. */
export async function replayed(standby: PostgresServer, primary: PostgresServer): Promise<void> {
  const [there, here] = [superuser(standby), superuser(primary)];
  const [row] = await here<{ lsn: string }[]>`SELECT pg_current_wal_flush_lsn()::text AS lsn`;
  await eventually(async () => {
    const [behind] = await there`SELECT pg_last_wal_replay_lsn() < ${row?.lsn ?? ""}::pg_lsn AS behind`;
    assert.equal(behind?.["behind"], false);
  }, { what: "the standby to replay" });
  await Promise.all([there.end(), here.end()]);
}

export async function promote(standby: PostgresServer): Promise<void> {
  const sql = superuser(standby);
  await sql`SELECT pg_promote()`;
  await sql.end();
}

/** Waits until the run has met a standby where its primary was. */
export async function standbyMet(bench: Bench): Promise<void> {
  await eventually(() => {
    const [status] = bench.synchronizer.status().databases;
    assert.ok(status?.faults.some(({ message }) => /is a standby now/.test(message)));
  }, { what: "the run to meet a standby" });
}

export async function copyFolder(from: string, to: string): Promise<void> {
  await runToEnd({ command: "cp", args: ["-a", from, to] });
}

export const FEWER = "DELETE FROM book WHERE id > 8000";

/**
 * Writes more than the buffers of both sides hold, until the walsender waits for us. The search engine must not answer. `FEWER` leaves as many
 * books as the comparison can read.
 */
export async function heldBack(bench: Bench): Promise<void> {
  await bench.write("UPDATE book SET title = repeat('x', 3000) || id");
  await bench.write("INSERT INTO book SELECT n, repeat('y', 1500) FROM generate_series(2001, 20000) AS n");
  await eventually(async () => {
    const rows = await bench.sql`SELECT FROM pg_stat_activity
      WHERE datname = ${bench.database.name} AND wait_event = 'WalSenderWriteData'`;
    assert.equal(rows.length, 1);
  }, { what: "the stream to be held back", timeout: 60_000 });
}
