/** Moments of a real standby: one that is killed and begins again further back, another one's timeline, one that is promoted. */
import assert from "node:assert/strict";
import { test } from "node:test";
import postgres from "postgres";
import { NOTHING_TO_SEE } from "../../src/documents/source_clock.ts";
import { SourceSession } from "../../src/documents/source_session.ts";
import { StandbyClock } from "../../src/documents/standby_clock.ts";
import { behind, refuseUnfit, type Replica, type StandbyLook } from "../../src/documents/standby_look.ts";
import { parseLsn } from "../../src/replication/lsn.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import { optionsOf } from "../postgres/options.ts";
import { eventually } from "../support/eventually.ts";
import { ownPostgres, ownStandby } from "../support/postgres.ts";

const LIMITS = { lookups: 1, builders: 2, loaders: 1 };
const SIGNAL = new AbortController().signal;

function withCode(code: string, message = /./) {
  return (error: unknown) =>
    error instanceof PgsyncError && error.code === code && message.test(error.message);
}

test("a standby that was killed and begins again further back is waited for, and its sessions are not built with", async () => {
  const primary = await ownPostgres();
  const standby = await ownStandby(primary);
  const sql = postgres(primary.url, { max: 1 });
  const [{ id: systemIdentifier } = assert.fail()] = await sql<{ id: string }[]>`
    SELECT system_identifier::text AS id FROM pg_control_system()`;
  const replica: Replica = { options: optionsOf(standby.url), systemIdentifier };
  const lags: PgsyncError[] = [];
  await using session = new SourceSession(optionsOf(primary.url), "postgres", LIMITS, replica);
  const clock = new StandbyClock(session, replica, (lag) => lags.push(lag));
  await clock.takeOver(SIGNAL);
  await sql`CREATE TABLE counted AS SELECT 1 AS value`;
  await clock.catchUp(SIGNAL);
  const moment = await clock.afterVisible(NOTHING_TO_SEE, SIGNAL);
  const read = async () => {
    using lease = await session.lease(session.builders, moment);
    return (await lease.sql.unsafe("SELECT value FROM public.counted").values()).flat();
  };
  assert.deepEqual(await read(), ["1"]);

  await standby.kill();
  await assert.rejects(clock.check(), withCode("POSTGRES_UNREACHABLE"));
  assert.match(clock.problem ?? "", /cannot be reached/);
  // What was committed lately is replayed again, but not now.
  await standby.start({ recovery_min_apply_delay: "1h" });
  await eventually(() => assert.rejects(read(), withCode("REPLICA_BEHIND", /bytes short of/)));
  // On a slow machine the start may have been told of, too.
  lags.length = 0;
  const stop = new AbortController();
  const waiting = clock.afterVisible(NOTHING_TO_SEE, stop.signal);
  await eventually(() => assert.match(clock.problem ?? "", /has replayed the WAL up to .* bytes short/));
  assert.equal(lags.length, 1, "told once");
  stop.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
  assert.equal(clock.problem, null);

  await standby.restart("immediate", { recovery_min_apply_delay: "0" });
  await eventually(async () => assert.deepEqual(await read(), ["1"]));
  const later = await clock.afterVisible(NOTHING_TO_SEE, SIGNAL);
  assert.ok(later.lsn >= moment.lsn && later.timeline === moment.timeline);

  const promoter = postgres(standby.url, { max: 1 });
  await promoter`SELECT pg_promote()`;
  await promoter.end();
  await assert.rejects(clock.check(), withCode("REPLICA_UNFIT", /was promoted/));
  await assert.rejects(read(), withCode("REPLICA_UNFIT"));
  await sql.end();
});

test("when the slot was taken, nothing is dated before the standby shows what another process may have read from the primary", async () => {
  const primary = await ownPostgres();
  const standby = await ownStandby(primary);
  const [sql, replaying] = [primary, standby].map(({ url }) => postgres(url, { max: 1 }));
  assert.ok(sql !== undefined && replaying !== undefined);
  const [{ id: systemIdentifier } = assert.fail()] = await sql<{ id: string }[]>`
    SELECT system_identifier::text AS id FROM pg_control_system()`;
  const replica: Replica = { options: optionsOf(standby.url), systemIdentifier };
  await using session = new SourceSession(optionsOf(primary.url), "postgres", LIMITS, replica);
  const clock = new StandbyClock(session, replica, () => {});
  await clock.takeOver(SIGNAL);
  await replaying`SELECT pg_wal_replay_pause()`;
  await eventually(async () => {
    const [row] = await replaying<{ state: string }[]>`SELECT pg_get_wal_replay_pause_state() AS state`;
    assert.equal(row?.state, "paused");
  });
  const [{ lsn: text } = assert.fail()] = await sql<{ lsn: string }[]>`
    SELECT pg_logical_emit_message(true, 'test', '')::text AS lsn`;
  // As long as the slot stays ours, what was replayed before will do.
  const before = await clock.afterVisible(NOTHING_TO_SEE, SIGNAL);
  assert.ok(before.lsn < parseLsn(text));

  clock.slotTaken();
  const stop = new AbortController();
  const loader = session.loaders;
  const given = clock.now(loader, stop.signal);
  const waiting = [clock.afterVisible(NOTHING_TO_SEE, SIGNAL), clock.now(loader, SIGNAL)];
  await eventually(() => assert.match(clock.problem ?? "", /has replayed the WAL up to .* bytes short/));
  stop.abort(new Error("enough"));
  await assert.rejects(given, /enough/);
  await replaying`SELECT pg_wal_replay_resume()`;
  for (const moment of await Promise.all(waiting)) {
    assert.ok(moment.lsn > parseLsn(text), "another's abort is not ours");
  }
  await Promise.all([sql.end(), replaying.end()]);
});

const OPTIONS = optionsOf("postgres://reader@standby:5433/shop");
const REPLICA: Replica = { options: OPTIONS, systemIdentifier: "7" };
const LOOK: StandbyLook = { inRecovery: true, replayed: 100n, systemIdentifier: "7", timeline: 2 };

test("a server that is no standby of the primary is refused", () => {
  refuseUnfit(LOOK, REPLICA);
  assert.throws(
    () => refuseUnfit({ ...LOOK, inRecovery: false }, REPLICA),
    withCode("REPLICA_UNFIT", /^The server at standby:5433, .* is not a standby/),
  );
  assert.throws(
    () => refuseUnfit({ ...LOOK, systemIdentifier: "8" }, REPLICA),
    withCode("REPLICA_UNFIT", /another cluster \(8\) than the primary \(7\)/),
  );
});

test("a moment is reached at its position, and on its timeline only", () => {
  assert.equal(behind(LOOK, { timeline: 2, lsn: 100n }, REPLICA), null);
  assert.match(
    behind(LOOK, { timeline: 2, lsn: 108n }, REPLICA)?.message ?? "",
    /up to 0\/64, 8 bytes short of 0\/6C/,
  );
  // Further on a history that is not the primary's.
  assert.match(
    behind(LOOK, { timeline: 3, lsn: 50n }, REPLICA)?.message ?? "",
    /on timeline 2, as far as it is known, but the primary on 3/,
  );
  assert.match(behind(LOOK, { timeline: 1, lsn: 50n }, REPLICA)?.message ?? "", /on timeline 2/);
});
