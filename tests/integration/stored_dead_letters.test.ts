/** Dead letters that are tried again while no run is there: what is refused then, and what the run finds afterwards. */
import assert from "node:assert/strict";
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { configure, reset } from "@logtape/logtape";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import type { ErrorCode } from "../../src/errors/codes.ts";
import { checkpointPath } from "../../src/sync/setup/checkpoint_path.ts";
import { slotName } from "../../src/sync/database_mapping.ts";
import type { DeadLetterAccess } from "../../src/sync/dead_letters/dead_letters.ts";
import type { RunOptions } from "../../src/sync/options.ts";
import { openStoredDeadLetters } from "../../src/sync/dead_letters/stored_dead_letters.ts";
import { verify } from "../../src/sync/verify_run.ts";
import { VERIFY_DEFAULTS } from "../../src/verify/verification.ts";
import { client } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { databasesOf, ownPostgres } from "../support/postgres.ts";
import { Bench } from "./support.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

/** `n` is a number in the index and a text here, so that any row can be refused. */
const TABLES = `
  create table item (id int primary key, n text);
  insert into item select g, g::text from generate_series(1, 20) g`;
const NODES = "\ntable: item\ntransform: { mapping: { n: { type: long } } }";
const NEVER = new AbortController().signal;

function indexOf(bench: Bench): string {
  return bench.schema.documents[0]?.index ?? assert.fail();
}

function fileOf(bench: Bench, options: Pick<RunOptions, "checkpointFolder"> = bench.options): string {
  return checkpointPath(options, slotName(null, bench.database.name));
}

/** Has row 7 refused, in a run that has ended since. */
async function refuseSeven(bench: Bench): Promise<void> {
  await bench.runOnce();
  await bench.write("update item set n = 'x' where id = 7");
  await bench.runOnce();
  assert.deepEqual(bench.deadLetters().map(({ id }) => id), ["7"]);
}

async function stored<T>(
  bench: Bench,
  work: (access: DeadLetterAccess) => Promise<T>,
  options: RunOptions = bench.options,
  signal: AbortSignal = NEVER,
): Promise<T> {
  const opened = await openStoredDeadLetters(options, bench.schema.documents, signal);
  assert.ok("deadLetters" in opened, "no run holds the file");
  await using letters = opened;
  return await work(letters.deadLetters);
}

function retryAll(bench: Bench, options?: RunOptions, signal?: AbortSignal) {
  const all = { indices: [indexOf(bench)], ids: null, after: null };
  return stored(bench, (access) => access.retry(all), options, signal);
}

async function refusesRetry(bench: Bench, code: ErrorCode, options?: RunOptions): Promise<void> {
  await assert.rejects(retryAll(bench, options), { code });
}

describe("Dead letters without a run", () => {
  it("are not tried again beside a run that has another checkpoint file", async () => {
    await using bench = await Bench.open(17, TABLES, NODES);
    await refuseSeven(bench);
    const other = { ...bench.options, checkpointFolder: temporaryFolder("test") };
    try {
      cpSync(bench.options.checkpointFolder, other.checkpointFolder, { recursive: true });
      bench.start();
      await bench.settled();
      await refusesRetry(bench, "SLOT_ACTIVE", other);
    } finally {
      removeFolder(other.checkpointFolder);
    }
  });

  it("are not tried again on another server than their own, and the file stays its own", async () => {
    await using bench = await Bench.open(17, TABLES, NODES);
    await refuseSeven(bench);
    using file = Checkpoint.open(fileOf(bench));
    const identity = file.identity() ?? assert.fail();
    const foreign = { ...identity, systemIdentifier: "1" };
    file.adopt(foreign);
    file.close();
    await refusesRetry(bench, "CHECKPOINT_FOREIGN");
    using again = Checkpoint.open(fileOf(bench));
    assert.deepEqual(again.identity(), foreign);
    again.adopt(identity);
    again.noteLoss({
      code: "HISTORY_DIVERGED",
      reason: "A test has lost changes.",
      begun: false,
      byName: false,
    });
    again.close();
    await refusesRetry(bench, "HISTORY_DIVERGED");
  });

  it("are not tried again on a server that was promoted before the run has seen it", async () => {
    const server = await ownPostgres();
    await using bench = await Bench.open(databasesOf(server), TABLES, NODES);
    await refuseSeven(bench);
    const timelineOf = () => {
      using file = Checkpoint.open(fileOf(bench));
      return file.identity()?.timeline;
    };
    assert.equal(timelineOf(), 1);
    // A server that recovers by itself and is promoted begins a timeline of its own.
    await server.halt();
    writeFileSync(join(server.dataDirectory, "standby.signal"), "");
    await server.start();
    await bench.sql`select pg_promote()`;
    await bench.write("update item set n = '7' where id = 7");
    await refusesRetry(bench, "CHECKPOINT_FOREIGN");
    assert.equal(timelineOf(), 1, "the run will notice");
    await bench.runOnce();
    await bench.assertEqual("on the promoted server");
    assert.equal(timelineOf(), 2);
    assert.equal((await retryAll(bench)).found, 0);
  });

  it("are not tried again after a table was altered, nor is anything repaired, before the run has added the field", async () => {
    await using bench = await Bench.open(17, TABLES, NODES);
    await refuseSeven(bench);
    await bench.write("alter table item add column day text default '2026-01-31'", "update item set n = '7'");
    await refusesRetry(bench, "SOURCE_CHANGED");
    const repairing = verify(bench.options, { ...VERIFY_DEFAULTS, repair: true }, NEVER);
    await assert.rejects(repairing.next(), { code: "SOURCE_CHANGED" });
    assert.equal(bench.deadLetters().length, 1);
    await bench.runOnce();
    await bench.assertEqual("after the run");
    const { body } = await client(bench.searchUrl).request("GET", `/${indexOf(bench)}/_mapping`);
    // The engine would have guessed a date.
    assert.match(JSON.stringify(body), /"day":\{"type":"(text|keyword)"/);
  });

  it("wait for a table that is locked, and are let go when the operator has waited long enough", async () => {
    await using bench = await Bench.open(17, TABLES, NODES);
    await refuseSeven(bench);
    const stop = new AbortController();
    const isWaiting = () =>
      eventually(async () => {
        const [row] = await bench.sql<{ yes: boolean }[]>`
          select exists (select from pg_stat_activity
            where application_name = 'pgsync letters' and wait_event_type = 'Lock') as yes`;
        assert.equal(row?.yes, true);
      }, { what: "the command to wait for the lock" });
    await bench.sql.begin(async (transaction) => {
      await transaction`lock table item`;
      const retried = retryAll(bench, bench.options, stop.signal);
      await isWaiting();
      const began = performance.now();
      stop.abort(new Error("the operator's"));
      await assert.rejects(retried, /the operator's/);
      assert.ok(performance.now() - began < 5_000, "long before the lock's own end");
      Checkpoint.open(fileOf(bench)).close();
    });
    let locked: Promise<unknown> = Promise.resolve();
    await bench.sql.begin(async (transaction) => {
      await transaction`lock table item`;
      locked = retryAll(bench);
      await isWaiting();
    });
    assert.deepEqual(await locked, { found: 1, taken: 0, refused: 1, pending: 0, next: null });
  });

  it("let a run that starts meanwhile wait for them", async () => {
    await using bench = await Bench.open(17, TABLES, NODES);
    await refuseSeven(bench);
    const logged: string[] = [];
    await configure({
      sinks: { kept: (record) => void logged.push(record.message.join("")) },
      loggers: [
        { category: "pgsync", lowestLevel: "warning", sinks: ["kept"] },
        { category: ["logtape", "meta"], lowestLevel: "warning", sinks: ["kept"] },
      ],
    });
    try {
      using held = Checkpoint.open(fileOf(bench));
      bench.start();
      const isTold = () => assert.ok(logged.some((line) => line.includes("it is waited for")));
      await eventually(isTold, { what: "the run to wait for its file" });
      held.close();
      await bench.settled();
    } finally {
      await reset();
    }
  });
});
