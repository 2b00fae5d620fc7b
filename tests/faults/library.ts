/** Two documents over the same tables, for the tests of what may be read when: root, child and link rows of each. */
import assert from "node:assert/strict";
import postgres from "postgres";
import type { PostgresServer } from "../../scripts/servers/postgres.ts";
import type { RunOptions } from "../../src/sync/options.ts";
import { Bench } from "../integration/support.ts";
import { type Exact } from "../../scripts/demo/digits.ts";
import { indexedDocuments } from "../oracle/compare.ts";
import { optionsOf } from "../postgres/options.ts";
import { eventually } from "../support/eventually.ts";
import { databasesOf } from "../support/postgres.ts";
import { parseLsn } from "../../src/replication/lsn.ts";

const TABLES = `
  CREATE TABLE author (id int PRIMARY KEY, name text);
  CREATE TABLE book (id int PRIMARY KEY, title text);
  CREATE TABLE review (id int PRIMARY KEY, book_id int REFERENCES book ON DELETE CASCADE, body text);
  CREATE TABLE book_author (
    book_id int REFERENCES book ON DELETE CASCADE,
    author_id int REFERENCES author ON DELETE CASCADE,
    PRIMARY KEY (book_id, author_id)
  );
  INSERT INTO author SELECT n, 'author ' || n FROM generate_series(1, 10) AS n;
  INSERT INTO book SELECT n, 'book ' || n FROM generate_series(1, 40) AS n;
  INSERT INTO review SELECT n, n % 40 + 1, 'review ' || n FROM generate_series(1, 80) AS n;
  INSERT INTO book_author SELECT n, n % 10 + 1 FROM generate_series(1, 40) AS n;`;

const DOCUMENTS = [
  `
table: book
children:
  - table: review
    relationship: { type: one_to_many, variant: object }
  - table: author
    relationship: { type: one_to_many, variant: object, through_tables: [book_author] }`,
  `
table: author
children:
  - table: book
    columns: [id, title]
    relationship: { type: one_to_many, variant: object, through_tables: [book_author] }`,
];

/** What happens → its statements, each a transaction of its own; all of them change documents. */
export const CHANGES: Readonly<Record<string, readonly string[]>> = {
  "UPDATE of a root": ["UPDATE book SET title = 'changed' WHERE id = 1"],
  "INSERT of a root": ["INSERT INTO book VALUES (41, 'new')"],
  "DELETE of a root": ["DELETE FROM book WHERE id = 2"],
  "UPDATE of a child": ["UPDATE review SET body = 'changed' WHERE id = 4"],
  "UPDATE that moves a child": ["UPDATE review SET book_id = 5 WHERE id = 6"],
  "INSERT of a child": ["INSERT INTO review VALUES (100, 7, 'new')"],
  "DELETE of a child": ["DELETE FROM review WHERE id = 8"],
  "UPDATE of a link": ["UPDATE book_author SET author_id = 1 WHERE book_id = 1"],
  "INSERT of a link": ["INSERT INTO book_author VALUES (9, 5)"],
  "DELETE of a link": ["DELETE FROM book_author WHERE book_id = 11"],
  "several transactions": [
    "UPDATE book SET title = 'first' WHERE id = 12",
    "UPDATE review SET book_id = 13 WHERE book_id = 12",
    "INSERT INTO book_author VALUES (12, 7)",
    "DELETE FROM author WHERE id = 3",
  ],
  "TRUNCATE of a link": ["TRUNCATE book_author"],
  "TRUNCATE of a child": ["TRUNCATE review"],
  "TRUNCATE of a root, with all that refers to it": ["TRUNCATE book CASCADE"],
};

/** The same in few steps. */
export const CHANGES_IN_SHORT: Readonly<Record<string, readonly string[]>> = {
  UPDATE: ["UPDATE of a root", "UPDATE that moves a child", "UPDATE of a link"].flatMap(changesOf),
  INSERT: ["INSERT of a root", "INSERT of a child", "INSERT of a link"].flatMap(changesOf),
  DELETE: ["DELETE of a root", "DELETE of a child", "DELETE of a link"].flatMap(changesOf),
  TRUNCATE: changesOf("TRUNCATE of a child"),
};

function changesOf(what: string): readonly string[] {
  return CHANGES[what] ?? assert.fail(what);
}

/**
 * A library on a server of the test's own.
 *
 * @param standby to read documents from
 */
export async function openLibrary(
  primary: PostgresServer,
  standby: PostgresServer | null,
  changes: Partial<RunOptions> = {},
): Promise<Bench> {
  const postgresReplica = standby === null ? null : optionsOf(standby.url);
  return await Bench.open(databasesOf(primary), TABLES, DOCUMENTS, { postgresReplica, ...changes });
}

/** A superuser's session on a server; commits of its own wait for no standby. */
export function superuser(server: PostgresServer): postgres.Sql {
  return postgres(server.url, { max: 1, onnotice: () => {}, connection: { synchronous_commit: "local" } });
}

/** Everything that the indices hold. */
export async function everyDocument(bench: Bench): Promise<ReadonlyMap<string, Exact>[]> {
  return await Promise.all(
    bench.schema.documents.map(({ index }) => indexedDocuments(bench.searchUrl, index)),
  );
}

/** Waits until the stream carries everything that is on the primary's disk by now. @returns that position */
export async function received(bench: Bench, primary: postgres.Sql): Promise<bigint> {
  const [row] = await primary<{ lsn: string }[]>`SELECT pg_current_wal_flush_lsn()::text AS lsn`;
  const flushed = parseLsn(row?.lsn ?? "");
  // Something behind it, which itself waits for nobody.
  await primary`SELECT pg_logical_emit_message(true, 'test', '')`;
  await eventually(() => (bench.synchronizer.status().databases[0]?.stream.received ?? 0n) >= flushed, {
    what: "the stream to carry the commits",
  });
  return flushed;
}

/**
 * Waits until the run has asked a server three times more how far it is: had it thought that it may build, it would have
 * built by then.
 *
 * @param purpose of the sessions that ask: `build` where documents are read, `clock` for the primary beside a replica
 */
export async function lookedAgain(
  bench: Bench,
  server: postgres.Sql,
  purpose: "build" | "clock",
): Promise<void> {
  const times = new Set<string>();
  await eventually(async () => {
    const rows = await server<{ changed: string }[]>`
      SELECT max(state_change)::text AS changed FROM pg_stat_activity
      WHERE datname = ${bench.database.name} AND application_name = ${`pgsync ${purpose}`}`;
    times.add(rows[0]?.changed ?? "");
    assert.ok(times.size > 3);
  }, { what: "the run to look at the server again", interval: 5 });
}
