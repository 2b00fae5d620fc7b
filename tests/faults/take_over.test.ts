/**
 * A second process stands by (`--standby`), and takes over when the first one is killed, stopped, or, on request, frozen. Rows change all the while, and
 * at the end every document is equal. The pause, from the last document of one process to the first of the other, is printed.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { PROJECT } from "../../scripts/project.ts";
import { eventually } from "../support/eventually.ts";
import type { PgsyncProcess } from "../support/pgsync_process.ts";
import { seededRandom } from "../support/random.ts";
import { assertGoesOn, loadProgress } from "./load_progress.ts";
import { type Folders, makePair, type Pair, standsBy, startProbe } from "./pair.ts";
import { startWriters } from "./tree.ts";

const FOLDERS: readonly Folders[] = ["one folder", "two folders"];

/** The first follows the slot, the second stands by. */
async function startBoth(pair: Pair): Promise<[PgsyncProcess, PgsyncProcess]> {
  const [one, two] = pair.homes;
  const first = await pair.start(one);
  await first.ready();
  const second = await pair.start(two);
  await standsBy(second);
  return [first, second];
}

for (const folders of FOLDERS) {
  test(`kill -9 under load, ${folders}: the second takes over, and the first stands by when it is back`, async () => {
    const pair = await makePair(folders, 1_500);
    const [one, two] = pair.homes;
    const [first, second] = await startBoth(pair);
    assert.equal(existsSync(two.checkpointFile(pair.slot)), folders === "one folder");
    const holder = await pair.holder();
    const writers = startWriters(pair.database.url, seededRandom(1), 2);
    const probe = startProbe(pair);
    let back: PgsyncProcess;
    try {
      await probe.another();
      probe.longest();
      first.signal("SIGKILL");
      await pair.takenOver(holder);
      await probe.another();
      console.log(`kill -9, ${folders}: a pause of ${Math.round(probe.longest())} ms`);
      back = await pair.start(one);
      await standsBy(back);
    } finally {
      await probe.stop();
      await writers.stop();
    }
    assert.equal(/all documents are\s+compared/.test(second.stderr()), folders === "two folders");
    await pair.assertEqual(second);
    assert.equal((await back.end("SIGTERM")).code, 0);
    assert.equal((await second.end("SIGTERM")).code, 0);
    await pair.sql.end();
  });

  test(`a rolling restart under load, again and again, ${folders}`, async () => {
    const pair = await makePair(folders, 1_000);
    let [leader, standby] = await startBoth(pair);
    let [leads, stands] = pair.homes;
    const writers = startWriters(pair.database.url, seededRandom(2), 2);
    const probe = startProbe(pair);
    const pauses: number[] = [];
    try {
      for (let round = 0; round < 4; round++) {
        await leader.ready();
        await probe.another();
        probe.longest();
        const holder = await pair.holder();
        leader.signal("SIGTERM");
        // From the signal on, not from the end of the process.
        await pair.takenOver(holder);
        const ended = await leader.exit();
        assert.equal(ended.code, 0, ended.stderr);
        await probe.another();
        pauses.push(probe.longest());
        [leader, standby] = [standby, await pair.start(leads)];
        [leads, stands] = [stands, leads];
        await standsBy(standby);
      }
    } finally {
      await probe.stop();
      await writers.stop();
    }
    console.log(`SIGTERM, ${folders}: pauses of ${pauses.map(Math.round).join(", ")} ms`);
    await pair.assertEqual(leader);
    for (const run of [standby, leader]) assert.equal((await run.end("SIGTERM")).code, 0);
    await pair.sql.end();
  });

  test(`in the middle of the initial load, ${folders}`, async () => {
    const pair = await makePair(folders, 1_500);
    const [one, two] = pair.homes;
    const env = { PGSYNC_LOAD_CHUNK_ROWS: "100", ELASTICSEARCH_CHUNK_SIZE: "50" };
    const fault = { TEST_MILESTONE: "before-chunk-done", TEST_TIMES: "4", TEST_SIGNAL: "SIGSTOP" };
    const script = join(PROJECT, "tests/faults/program_with_fault.ts");
    const first = await pair.start(one, { env: { ...env, ...fault }, script });
    await first.logged(/reached before-chunk-done/, 60_000);
    const second = await pair.start(two, { env });
    await standsBy(second);
    const writers = startWriters(pair.database.url, seededRandom(3), 2);
    try {
      await first.end("SIGKILL");
      const before = loadProgress(one.checkpointFile(pair.slot), pair.index);
      assert.ok(before.done.size > 0 && !before.finished);
      await second.logged(/is free; this process follows it/, 60_000);
      await second.ready();
      const beginsAgain = /a load that was not finished begins again/.test(second.stderr());
      assert.equal(beginsAgain, folders === "two folders", second.stderr());
      await writers.stop();
      await pair.assertEqual(second);
      assert.equal((await second.end("SIGTERM")).code, 0);
      if (folders === "one folder") {
        assertGoesOn(before, loadProgress(one.checkpointFile(pair.slot), pair.index));
      }
    } finally {
      await writers.stop();
    }
    await pair.sql.end();
  });

  test(`dead letters of the first are there, ${folders}`, async () => {
    const pair = await makePair(folders, 200);
    const [first, second] = await startBoth(pair);
    const deadLetters = async (run: PgsyncProcess) => {
      const indices = (await run.status()).databases.flatMap((database) => database.indices);
      return indices.find(({ index }) => index === pair.probeIndex)?.deadLetters;
    };
    await pair.sql`INSERT INTO probe (n) VALUES ('1'), ('one'), ('2'), ('two'), ('three')`;
    await eventually(async () => assert.equal(await deadLetters(first), 3), { what: "three dead letters" });
    await first.end("SIGKILL");
    await second.logged(/is free; this process follows it/);
    await second.ready();
    assert.equal(await deadLetters(second), 3);
    await pair.assertEqual(second);
    assert.equal((await second.end("SIGTERM")).code, 0);
    await pair.sql.end();
  });
}

test("a frozen process is left alone; on request its walsender is ended, and when it wakes it stands by", async () => {
  const pair = await makePair("two folders", 500);
  const { sql } = pair;
  await sql.unsafe(`ALTER DATABASE ${pair.database.name} SET wal_sender_timeout = 0`);
  const [first, second] = await startBoth(pair);
  const writers = startWriters(pair.database.url, seededRandom(4), 2);
  try {
    const holder = await pair.holder();
    const commits = writers.commits;
    await eventually(() => writers.commits > commits, { what: "a transaction" });
    first.signal("SIGSTOP");
    const until = Date.now() + 5_000;
    while (Date.now() < until) {
      assert.equal(await pair.holder(), holder);
      await delay(250);
    }
    await standsBy(second);
    const ended = await pair.homes[1].run(["take-over"]);
    const probe = startProbe(pair);
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal(
      ended.stdout.trim(),
      `ended process ${holder} (pgsync stream), which held the slot "${pair.slot}"`,
    );
    await pair.takenOver(holder);
    await probe.another();
    console.log(`take-over on request: a pause of ${Math.round(probe.longest())} ms`);
    await probe.stop();

    first.signal("SIGCONT");
    await first.logged(/This process was replaced, and stands by/);
    await eventually(async () => assert.match(JSON.stringify((await first.get("/ready")).body), /"standby"/));
    // And back again, with a file that is older now.
    await second.end("SIGTERM");
    await first.logged(/another process has followed it meanwhile.*all documents are compared/);
  } finally {
    await writers.stop();
  }
  await pair.assertEqual(first);
  assert.equal((await first.end("SIGTERM")).code, 0);
  await sql.end();
});
