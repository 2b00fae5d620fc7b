/** Moments of the primary: those of two processes that follow one slot after each other. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ServerClock } from "../../src/documents/server_clock.ts";
import { NOTHING_TO_SEE } from "../../src/documents/source_clock.ts";
import { SourceSession } from "../../src/documents/source_session.ts";
import { optionsOf } from "../postgres/options.ts";
import { ownPostgres } from "../support/postgres.ts";

const LIMITS = { lookups: 1, builders: 2, loaders: 1 };
const SIGNAL = new AbortController().signal;

test("a process that has waited for the slot gives no moment that the one before has given, though nobody writes", async () => {
  const server = await ownPostgres();
  await using session = new SourceSession(optionsOf(server.url), "postgres", LIMITS);
  const [before, after] = [new ServerClock(session), new ServerClock(session)];
  await before.takeOver();
  before.slotTaken();
  await after.takeOver();
  const last = await before.afterVisible(NOTHING_TO_SEE, SIGNAL);
  after.slotTaken();
  const [first, second] = await Promise.all([1, 2].map(() => after.afterVisible(NOTHING_TO_SEE, SIGNAL)));
  assert.ok(first !== undefined && second !== undefined);
  assert.ok(first.lsn > last.lsn && second.lsn > last.lsn, `${first.lsn}, ${second.lsn} after ${last.lsn}`);
  assert.notEqual(first.lsn, second.lsn);

  // What is written to part them is written once for each session of the stream.
  const third = await after.afterVisible(NOTHING_TO_SEE, SIGNAL);
  assert.ok(third.lsn - first.lsn < 8n, `${third.lsn} after ${first.lsn}`);
});
