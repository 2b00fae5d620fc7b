/** Whose session holds the slot, while ours does not stand. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { connectPostgres } from "../../../src/postgres/connect.ts";
import type { PgsyncError } from "../../../src/errors/error.ts";
import { followSlot } from "../../../src/replication/follow.ts";
import { inspectSlot } from "../../../src/replication/slot.ts";
import { watchHolder } from "../../../src/sync/slot/holder_watch.ts";
import { databaseOf, optionsOf } from "../../postgres/options.ts";
import { newSource, Recorder, type Source, startStream } from "../../replication/setup.ts";
import { eventually } from "../../support/eventually.ts";
import { throughProxy, usePostgres } from "../../support/postgres.ts";
import { startTcpProxy } from "../../support/tcp_proxy.ts";

/** Waits until the watch has looked at the slot so many times more. */
async function looks({ sql }: Source, count: number): Promise<void> {
  const seen = new Set<string>();
  await eventually(async () => {
    const [row] = await sql<{ at: string }[]>`
      SELECT query_start::text AS at FROM pg_stat_activity
      WHERE application_name = 'pgsync watch' AND datname = current_database()`;
    if (row !== undefined) seen.add(row.at);
    assert.ok(seen.size > count, `${seen.size} looks`);
  }, { what: `${count} looks at the slot` });
}

test("a session of ours that has the slot and does not know yet is no other process; a stranger's is", async () => {
  const { url } = await (await usePostgres()).createDatabase();
  const source = await newSource(url, "CREATE TABLE public.book (id int PRIMARY KEY)", ["book"]);
  const { sql, slot, database, publication } = source;
  const proxy = await startTcpProxy(url);
  const stop = new AbortController();
  const walsenders = new Set<number>();
  const admin = connectPostgres(optionsOf(url), { database, purpose: "watch", max: 1, kind: "admin" });
  try {
    assert.equal(databaseOf(url), database);
    const asked = proxy.holdBack(/START_REPLICATION/);
    const follower = followSlot({
      ...{ options: optionsOf(throughProxy(url, proxy)), database, slot, publication },
      startFrom: () => ({ position: 0n, startLsn: 0n }),
      onAsk: (walsender) => walsenders.add(walsender),
      onConnect: () => {},
      onMessage: () => {},
      onFault: () => {},
      signal: stop.signal,
    });
    await asked.caught;
    proxy.delayAnswers(true);
    await asked.release();
    await eventually(async () => assert.ok((await inspectSlot(sql, slot))?.active));
    const told: PgsyncError[] = [];
    const onReplaced = (error: PgsyncError) => Promise.resolve(void told.push(error));
    const watching = watchHolder({ admin, slotName: slot, follower, walsenders, onReplaced }, stop.signal);
    await looks(source, 4);
    assert.equal(follower.connected, false);
    assert.equal(told.length, 0);

    // The network is gone for good, and the server misses us.
    await proxy.shut();
    await sql`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = ${slot}`;
    await eventually(async () => assert.equal((await inspectSlot(sql, slot))?.active, false));
    const stranger = await startStream(source, new Recorder());
    await watching;
    const pid = (await inspectSlot(sql, slot))?.activePid;
    assert.deepEqual(told.map(({ code }) => code), ["SLOT_ACTIVE"]);
    assert.match(told[0]?.message ?? "", new RegExp(`in use by process ${pid} `));
    await stranger.stop();
    stop.abort();
    await follower.done;
  } finally {
    stop.abort();
    await proxy.stop();
    await Promise.all([admin.end({ timeout: 1 }), sql.end({ timeout: 1 })]);
  }
});

test("a follower is told to hurry when the server has missed its session, and its slot is free", async () => {
  const { url } = await (await usePostgres()).createDatabase();
  const source = await newSource(url, "CREATE TABLE public.book (id int PRIMARY KEY)", ["book"]);
  const { sql, slot, database } = source;
  const stop = new AbortController();
  const admin = connectPostgres(optionsOf(url), { database, purpose: "watch", max: 1, kind: "admin" });
  try {
    const walsenders = new Set<number>();
    let hurried = 0;
    const follower = { connected: false, hurry: () => hurried++ };
    const onAsk = (walsender: number) => walsenders.add(walsender);
    const session = await startStream(source, new Recorder(), { onAsk });
    const onReplaced = () => Promise.resolve(assert.fail("replaced"));
    const watching = watchHolder({ admin, slotName: slot, follower, walsenders, onReplaced }, stop.signal);
    await looks(source, 3);
    assert.equal(hurried, 0);
    await session.stop();
    await eventually(() => hurried > 0, { what: "a word to the follower" });
    follower.connected = true;
    stop.abort();
    await watching;
  } finally {
    stop.abort();
    await Promise.all([admin.end({ timeout: 1 }), sql.end({ timeout: 1 })]);
  }
});
