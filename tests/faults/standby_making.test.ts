/** Processes that stand by (`--standby`) where there is no slot: one of them makes it, the others wait, and see who does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "../support/eventually.ts";
import type { PgsyncProcess } from "../support/pgsync_process.ts";
import { makePair, oneLeads, type Pair } from "./pair.ts";
import { connect } from "./tree.ts";

const HALT = ["--on-slot-loss", "halt"];

/** A transaction that was open before: the slot that is being made waits for its end. */
async function olderTransaction({ database }: Pair): Promise<AsyncDisposable> {
  const sql = connect(database.url);
  const { promise, resolve } = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const over = sql.begin(async (transaction) => {
    await transaction`SELECT pg_current_xact_id()`;
    begun.resolve();
    await promise;
  });
  await begun.promise;
  return {
    async [Symbol.asyncDispose]() {
      resolve();
      await over;
      await sql.end();
    },
  };
}

/** The process id of the session that keeps others from making the slot. */
async function maker({ sql }: Pair): Promise<number> {
  return await eventually(async () => {
    const [row] = await sql<{ pid: number }[]>`
      SELECT pid FROM pg_locks
      WHERE locktype = 'advisory' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
    assert.ok(row !== undefined);
    return row.pid;
  }, { what: "a process to make the slot", timeout: 60_000 });
}

async function reasons(run: PgsyncProcess): Promise<string> {
  return JSON.stringify((await run.get("/ready")).body);
}

test("a process that makes the slot is named by the others; frozen, it is ended on request, and another one makes it", async () => {
  const pair = await makePair("two folders", 200);
  const [one, two] = pair.homes;
  await using older = await olderTransaction(pair);
  const first = await pair.start(one);
  const pid = await maker(pair);
  const second = await pair.start(two);
  await second.logged(
    new RegExp(`standing by: slot .* is being made by process ${pid} \\(pgsync making\\)`),
    60_000,
  );
  assert.match(await reasons(second), new RegExp(`is being made by process ${pid} \\(pgsync making\\)`));
  assert.equal((await second.get("/ready?standby=ok")).status, 200);
  // It waits for the older transaction.
  const beginner = await eventually(async () => await pair.holder() ?? false, {
    what: "the slot to be begun",
  });
  first.signal("SIGSTOP");
  const ended = await two.run(["take-over"]);
  assert.equal(ended.code, 0, ended.stderr);
  assert.equal(
    ended.stdout.trim(),
    `ended process ${pid} (pgsync making), which made the slot "${pair.slot}"\n` +
      `ended process ${beginner} (pgsync admin), which held the slot "${pair.slot}"`,
  );
  await older[Symbol.asyncDispose]();
  await second.ready();
  first.signal("SIGCONT");
  await eventually(async () => assert.match(await reasons(first), /is held by process/), {
    what: "the first to stand by",
    timeout: 60_000,
  });
  await pair.assertEqual(second);
  for (const run of [first, second]) assert.equal((await run.end("SIGTERM")).code, 0);
  await pair.sql.end();
});

test("with --on-slot-loss halt, the first slot is made, and one that is gone is not made anew", async () => {
  const pair = await makePair("two folders", 200);
  const [one, two] = pair.homes;
  const args = ["--daemon", "--standby", "--bootstrap", ...HALT];
  const runs = [await one.start(args), await two.start(args)];
  const leader = await oneLeads(runs);
  const other = runs.find((run) => run !== leader);
  assert.ok(other !== undefined);
  await pair.assertEqual(leader);
  await leader.end("SIGKILL");
  // Its walsender is gone a moment later, and the other one comes for the slot not before a second has passed.
  await eventually(() => pair.sql`SELECT pg_drop_replication_slot(${pair.slot})`, {
    what: "the slot to be dropped",
    interval: 1,
  });
  // Its file is new, so to it the slot could be the first one.
  const ended = await other.exit();
  assert.equal(ended.code, 4, ended.stderr);
  assert.match(ended.stderr, /^error SLOT_MISSING: .*were loaded/m);
  const again = await (await (leader === runs[0] ? one : two).start(args)).exit();
  assert.match(again.stderr, /^error SLOT_MISSING/m);
  assert.equal((await pair.sql`SELECT FROM pg_replication_slots WHERE slot_name = ${pair.slot}`).length, 0);
  await pair.sql.end();
});

test("one that may not begin a new slot waits while another one makes it", async () => {
  const pair = await makePair("two folders", 200);
  const [one, two] = pair.homes;
  const first = await pair.start(one);
  await first.ready();
  const second = await two.start(["--daemon", "--standby"]);
  await second.logged(/standing by: slot .* is held by process/);
  const holder = await pair.holder();
  await using older = await olderTransaction(pair);
  // The first finds its slot gone, and makes another.
  await eventually(async () => {
    await pair
      .sql`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = ${pair.slot}`;
    await pair.sql`SELECT pg_drop_replication_slot(${pair.slot})`;
  }, { what: "the slot to be dropped", interval: 1 });
  const pid = await maker(pair);
  await second.logged(new RegExp(`is being made by process ${pid}`), 60_000);
  await older[Symbol.asyncDispose]();
  await eventually(async () => {
    const now = await pair.holder();
    assert.ok(now !== null && now !== holder);
  }, { what: "the first to hold its new slot", timeout: 60_000 });
  await pair.assertEqual(first);
  await eventually(async () => assert.match(await reasons(second), /is held by process/));
  for (const run of [second, first]) assert.equal((await run.end("SIGTERM")).code, 0);
  await pair.sql.end();
});
