/**
 * What can become of the checkpoint file between two runs, and under one. Each ends in an error with a remedy that helps, or goes on rightly
 * and says what is not known any more. Damage of every kind and place: tests/checkpoint.
 */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { PROJECT } from "../../scripts/project.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { EXIT } from "../../src/errors/codes.ts";
import { eventually } from "../support/eventually.ts";
import { seededRandom } from "../support/random.ts";
import { assertRefused, prepare } from "./file_tree.ts";
import { loadProgress } from "./load_progress.ts";
import { startWriters } from "./tree.ts";

test("deleted between two runs: it goes on from the slot, does not load again, and says what it cannot know", async () => {
  const { caughtUp, change, file, assertEqual } = await prepare();
  await caughtUp("--bootstrap");
  await change();
  rmSync(file);
  const { stderr } = await caughtUp();
  assert.match(stderr, /checkpoint file .* is new, but the slot .* going on from the slot's own position/);
  assert.match(stderr, /dead letters of before are known only as far as/);
  assert.doesNotMatch(stderr, /load of/);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  await assertEqual();
});

test("deleted in the middle of the load: the load begins again, and the run says so", async () => {
  const { caughtUp, change, home, file, index, assertEqual } = await prepare(1_500);
  const env = {
    PGSYNC_LOAD_CHUNK_ROWS: "100",
    TEST_MILESTONE: "before-chunk-done",
    TEST_TIMES: "3",
    TEST_SIGNAL: "SIGKILL",
  };
  const script = join(PROJECT, "tests/faults/program_with_fault.ts");
  const first = await home.start(["--daemon", "--bootstrap"], { env, script });
  assert.equal((await first.exit()).signal, "SIGKILL");
  const { planned, finished } = loadProgress(file, index);
  assert.ok(planned > 3 && !finished);
  await change();
  rmSync(file);
  const { stderr } = await caughtUp();
  assert.match(stderr, /a load that was not finished begins again/);
  assert.ok(loadProgress(file, index).finished);
  await assertEqual();
});

test("deleted under a run, which is killed later: nothing is lost", async () => {
  const { database, home, caughtUp, file, assertEqual } = await prepare();
  const run = await home.start(["--daemon", "--bootstrap"]);
  await run.ready();
  const writers = startWriters(database.url, seededRandom(1), 2);
  try {
    rmSync(file);
    await eventually(() => writers.commits > 50, { what: "50 transactions" });
    await run.end("SIGKILL");
    await eventually(() => writers.commits > 100, { what: "100 transactions" });
  } finally {
    await writers.stop();
  }
  // Its WAL is there still, and must not be taken for that of the new file.
  assert.ok(existsSync(`${file}-wal`) && !existsSync(file));
  assert.match((await caughtUp()).stderr, /is new, but the slot/);
  await assertEqual();
});

test("an older copy is refused, also one from before the first run; the newest file goes on", async () => {
  const { caughtUp, change, home, file, assertEqual } = await prepare();
  const behind = {
    code: "CHECKPOINT_BEHIND",
    exit: EXIT.halted,
    remedy: /newest checkpoint file.*--on-slot-loss resync/,
  };
  await caughtUp("bootstrap");
  const copies = ["beginning", "later"].map((name) => join(home.folder, name));
  const [beginning = "", later = ""] = copies;
  copyFileSync(file, beginning);
  await caughtUp();
  copyFileSync(file, later);
  await change();
  await caughtUp();
  const newest = join(home.folder, "newest");
  renameSync(file, newest);
  copyFileSync(beginning, file);
  assertRefused(await home.run([]), behind);
  copyFileSync(later, file);
  assertRefused(await home.run(["--bootstrap"]), behind);
  renameSync(newest, file);
  await change();
  assert.doesNotMatch((await caughtUp()).stderr, /WARN/);
  await assertEqual();
});

test("after kill -9 somebody removes the WAL beside it: that is an older copy, too", async () => {
  const { database, home, file, caughtUp, assertEqual } = await prepare();
  await caughtUp("--bootstrap");
  const run = await home.start(["--daemon"]);
  await run.ready();
  const writers = startWriters(database.url, seededRandom(2), 1);
  await eventually(() => writers.commits > 50, { what: "50 transactions" });
  await writers.stop();
  await eventually(async () => {
    const [state] = (await run.status()).databases;
    assert.equal(state?.stream.confirmed, state?.stream.received);
  }, { what: "all to be confirmed" });
  await run.end("SIGKILL");
  renameSync(`${file}-wal`, join(home.folder, "wal"));
  copyFileSync(file, join(home.folder, "main"));
  assertRefused(await home.run([]), {
    code: "CHECKPOINT_BEHIND",
    exit: EXIT.halted,
    remedy: /newest checkpoint file/,
  });
  rmSync(`${file}-wal`, { force: true });
  renameSync(join(home.folder, "main"), file);
  renameSync(join(home.folder, "wal"), `${file}-wal`);
  await caughtUp();
  await assertEqual();
});

test("random bytes, or cut: refused, and left as it is; moved away, the slot's position serves", async () => {
  const { caughtUp, change, home, file, assertEqual } = await prepare();
  await caughtUp("--bootstrap");
  await change();
  const whole = readFileSync(file);
  const damages: readonly (readonly [Uint8Array, ...string[]])[] = [
    [crypto.getRandomValues(new Uint8Array(20_000))],
    [whole.subarray(0, 12_288), "--bootstrap"],
    [whole.subarray(0, 100), "teardown"],
  ];
  for (const [damaged, ...args] of damages) {
    writeFileSync(file, damaged);
    assertRefused(await home.run(args), {
      code: "CHECKPOINT_UNUSABLE",
      exit: EXIT.setup,
      remedy: /a damaged file may be moved away, the slot's position then serves/,
    });
    assert.deepEqual(readFileSync(file), Buffer.from(damaged));
  }
  renameSync(file, join(home.folder, "damaged"));
  assert.match((await caughtUp()).stderr, /going on from the slot's own position/);
  await change();
  // Nothing is left: that is a new file.
  writeFileSync(file, "");
  assert.match((await caughtUp()).stderr, /going on from the slot's own position/);
  await assertEqual();
});

test("the file of another database, or of another slot, is refused and left alone, with and without a slot", async () => {
  const other = await prepare();
  const own = await prepare();
  await other.caughtUp("--bootstrap");
  const foreign = (says: RegExp) => ({
    code: "CHECKPOINT_FOREIGN",
    exit: EXIT.setup,
    remedy: /Use the file that belongs to this run/,
    says,
  });
  const content = () => {
    using checkpoint = Checkpoint.open(own.file);
    return [checkpoint.identity(), checkpoint.position(), checkpoint.load(other.index)?.finished];
  };
  // There is no slot yet: a start would make one, and empty the file.
  copyFileSync(other.file, own.file);
  const before = content();
  for (const args of [["--bootstrap"], ["teardown"]]) {
    assertRefused(await own.home.run(args), foreign(new RegExp(`for database ${other.database.name}, now`)));
    assert.deepEqual(content(), before);
    assert.equal(await own.slotExists(), false);
  }
  rmSync(own.file);
  await own.caughtUp("--bootstrap");
  await own.change();
  copyFileSync(own.file, join(own.home.folder, "own"));
  copyFileSync(other.file, own.file);
  for (const args of [[], ["teardown"]]) {
    assertRefused(await own.home.run(args), foreign(/for database .* for slot/));
    assert.deepEqual(content(), before);
    assert.equal(await own.slotExists(), true);
  }
  copyFileSync(join(own.home.folder, "own"), own.file);
  // The same database by another slot.
  copyFileSync(own.file, own.home.checkpointFile("another"));
  assertRefused(
    await own.home.run(["--bootstrap", "--slot", "another"]),
    foreign(/for slot pgsync_\w+, now another\.$/),
  );
  await own.caughtUp();
  await own.assertEqual();
  await other.assertEqual();
});
