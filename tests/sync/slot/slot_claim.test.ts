/** Of processes that stand by, one makes the slot. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PgsyncError } from "../../../src/errors/error.ts";
import { SlotClaim } from "../../../src/sync/slot/slot_claim.ts";
import { databaseOf, optionsOf } from "../../postgres/options.ts";
import { newSource, type Source } from "../../replication/setup.ts";
import { eventually } from "../../support/eventually.ts";
import { throughProxy, usePostgres } from "../../support/postgres.ts";
import { startTcpProxy } from "../../support/tcp_proxy.ts";

const NEVER = new AbortController().signal;

async function withSource(use: (source: Source, url: string) => Promise<void>): Promise<void> {
  const { url } = await (await usePostgres()).createDatabase();
  const source = await newSource(url, "CREATE TABLE public.book (id int PRIMARY KEY)", ["book"]);
  try {
    await use(source, url);
  } finally {
    await source.sql.end({ timeout: 1 });
  }
}

/** A claim of a process of its own on the slot of a source, over a connection of its own where a URL is given. */
function claimOn({ database, slot, publication }: Source, url: string): SlotClaim {
  assert.equal(databaseOf(url), database);
  return new SlotClaim({ options: optionsOf(url), database, slot, publication });
}

/** The process ids of the sessions that keep others from making a slot of the database. */
async function makers({ sql }: Source): Promise<readonly number[]> {
  const rows = await sql<{ pid: number }[]>`
    SELECT pid FROM pg_locks
    WHERE locktype = 'advisory' AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
  return rows.map(({ pid }) => pid);
}

test("one at a time makes the slot, until it is held or let go of", () =>
  withSource(async (source, url) => {
    await using one = claimOn(source, url);
    await using other = claimOn(source, url);
    assert.equal(await one.makesAlone(NEVER), true);
    assert.equal(await one.makesAlone(NEVER), true, "again");
    assert.equal(await other.makesAlone(NEVER), false);
    await one[Symbol.asyncDispose]();
    assert.equal(one.isMaking, false);
    await eventually(async () => assert.equal(await other.makesAlone(NEVER), true));
    await other.hold(0n, null, NEVER);
    assert.deepEqual({ isHeld: other.isHeld, isMaking: other.isMaking }, { isHeld: true, isMaking: false });
    await eventually(async () => assert.deepEqual(await makers(source), []));
    assert.deepEqual([one.lost.aborted, other.lost.aborted], [false, false], "its own end is no loss");
  }));

test("whoever loses the session in which nobody else makes the slot is told, for another may make it by then", () =>
  withSource(async (source, url) => {
    await using one = claimOn(source, url);
    await using other = claimOn(source, url);
    assert.equal(await one.makesAlone(NEVER), true);
    const [pid] = await makers(source);
    assert.ok(pid !== undefined);
    await source.sql`SELECT pg_terminate_backend(${pid})`;
    await eventually(() => one.lost.aborted, { what: "the loss to be noticed" });
    assert.ok(one.lost.reason instanceof PgsyncError);
    assert.equal(one.lost.reason.code, "POSTGRES_UNREACHABLE");
    assert.match(one.lost.reason.message, /kept other processes from making the slot/);
    assert.equal(one.isMaking, false);
    assert.equal(await other.makesAlone(NEVER), true);
    assert.equal(await one.makesAlone(NEVER), false);
  }));

test("who is stopped while the server gives him the lock leaves it to others", () =>
  withSource(async (source, url) => {
    const proxy = await startTcpProxy(url);
    try {
      await using one = claimOn(source, throughProxy(url, proxy));
      const stop = new AbortController();
      const asked = proxy.holdBack(new RegExp(source.slot));
      const making = one.makesAlone(stop.signal);
      await asked.caught;
      proxy.delayAnswers(true);
      await asked.release();
      await eventually(async () => assert.equal((await makers(source)).length, 1), { what: "the lock" });
      stop.abort(new Error("stopped"));
      await assert.rejects(making, /stopped/);
      proxy.delayAnswers(false);
      await eventually(async () => assert.deepEqual(await makers(source), []), {
        what: "the lock to be free",
      });
      assert.equal(one.isMaking, false);
    } finally {
      await proxy.stop();
    }
  }));
