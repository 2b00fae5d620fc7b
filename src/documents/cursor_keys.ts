import { getLogger } from "@logtape/logtape";
import { endConnectionOf } from "../postgres/backend.ts";
import { cancelledBy } from "../postgres/cancel.ts";
import { oneSession, type Session } from "../postgres/session.ts";
import { joinKey, type RootKey } from "./root_keys.ts";

const logger = getLogger(["pgsync", "documents"]);

/** Rows of a page, at most: a country renamed touches a million cities, which must not come at once. */
const PAGE = 5_000;

/** Makes the names of cursors unique, whatever else is open on a session. */
let cursors = 0;

/**
 * The keys that a statement gives, each once, page by page. While a page is being used, nothing is held in PostgreSQL but rows that were computed:
 * no lock, no snapshot. Pages wait for the search engine, and an open transaction would keep an ALTER TABLE waiting as long,
 * and behind it every query of the application.
 *
 * A result of one page costs one statement. A larger one is computed anew, wholly, into a cursor WITH HOLD: the server keeps its
 * rows, in a temporary file where they are many, and ends the transaction
 * (https://www.postgresql.org/docs/current/sql-declare.html). That works on a standby, and where transactions are read-only.
 *
 * @param sql a pool, of which one connection is used until the last page; or a reserved connection
 * @param signal an abort cancels the statement on the server
 * @param length keys of a page
 * @throws postgres.js' errors; the signal's reason
 */
export async function* cursorKeys(
  sql: Session,
  statement: string,
  parameters: readonly string[],
  signal: AbortSignal,
  length: number = PAGE,
): AsyncGenerator<RootKey[]> {
  const first = await firstPage(sql, statement, parameters, length);
  if (first.length < length) {
    if (first.length > 0) yield first;
    return;
  }
  using session = await oneSession(sql);
  // Given at once, so that documents are built while the server computes all the rows.
  yield first;
  const given = new Set(first);
  for await (const page of heldKeys(session.sql, statement, parameters, length, signal)) {
    const fresh = page.filter((key) => !given.delete(key));
    if (fresh.length > 0) yield fresh;
  }
}

/** The first rows, however many more there would be. */
async function firstPage(
  sql: Session,
  statement: string,
  parameters: readonly string[],
  length: number,
): Promise<RootKey[]> {
  const query = sql.unsafe(statement, [...parameters], { prepare: true });
  // To leave the loop closes the portal, and with it the transaction ends.
  for await (const rows of query.values().cursor(length)) return keysOf(rows);
  return [];
}

async function* heldKeys(
  sql: Session,
  statement: string,
  parameters: readonly string[],
  length: number,
  signal: AbortSignal,
): AsyncGenerator<RootKey[]> {
  const cursor = `pgsync_keys_${++cursors}`;
  const declare = `DECLARE ${cursor} NO SCROLL CURSOR WITH HOLD FOR ${statement}`;
  await cancelledBy(sql.unsafe(declare, [...parameters]), signal);
  try {
    for (;;) {
      signal.throwIfAborted();
      const rows = await sql.unsafe(`FETCH ${length} FROM ${cursor}`).values();
      yield keysOf(rows);
      if (rows.length < length) return;
    }
  } finally {
    await close(sql, cursor);
  }
}

/** Closes a cursor. Where the server refuses, the connection is ended, and the cursor with it. */
async function close(sql: Session, cursor: string): Promise<void> {
  const closing = sql.unsafe(`CLOSE ${cursor}`);
  try {
    await closing;
  } catch (error) {
    logger.debug("a cursor could not be closed: {error}", { error });
    await endConnectionOf(closing);
  }
}

function keysOf(rows: readonly (readonly unknown[])[]): RootKey[] {
  return rows.map((row) => joinKey(row.map(String)));
}
