/**
 * What can become of the checkpoint file between two runs, and under one. Each ends in an error with a remedy that helps, or goes on rightly
 * and says what is not known any more. Damage of every kind and place: tests/checkpoint.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { PROJECT } from "../../scripts/project.ts";
import { isRoot, removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { EXIT } from "../../src/errors/codes.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { type Ended, pgsyncHome } from "../support/pgsync_process.ts";
import { usePostgres } from "../support/postgres.ts";
import { seededRandom } from "../support/random.ts";
import { loadProgress } from "./load_progress.ts";
import { assertEqualTree, connect, makeTree, startWriters, treeSchema } from "./tree.ts";

/** A tree of its own, loaded, and a run that has ended. */
async function prepare(items = 300) {
  const [postgres, elasticsearch] = await Promise.all([usePostgres(), useElasticsearch()]);
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("file");
  await makeTree(database.url, items);
  const home = pgsyncHome({
    schema: treeSchema(database.name, index),
    postgresUrl: database.url,
    searchUrl: elasticsearch.url,
  });
  const slot = `pgsync_${database.name}`;
  const sql = connect(database.url);
  const change = async () => {
    await sql`UPDATE item SET amount = amount + 1 WHERE id <= 50`;
    await sql`DELETE FROM item WHERE id = (SELECT max(id) FROM item)`;
  };
  return {
    database,
    index,
    home,
    slot,
    file: home.checkpointFile(slot),
    sql,
    change,
    /** Runs to the end, which must be a good one. */
    async caughtUp(...args: string[]): Promise<Ended> {
      const ended = await home.run(args);
      assert.equal(ended.code, 0, ended.stderr);
      return ended;
    },
    async assertEqual() {
      await assertEqualTree(database.url, elasticsearch, index);
      await sql.end();
    },
    async slotExists(): Promise<boolean> {
      return (await sql`SELECT FROM pg_replication_slots WHERE slot_name = ${slot}`).length > 0;
    },
  };
}

/** The code, the sentence and the remedy of the error that ended a run. */
function assertRefused(
  { code, stderr }: Ended,
  expected: { code: string; exit: number; remedy: RegExp; says?: RegExp },
) {
  const [, name, sentence = "", remedy = ""] = /^error (\w+): (.*)\n(?: *(.*))?/m.exec(stderr) ?? [];
  assert.equal(name, expected.code, stderr);
  assert.equal(code, expected.exit, stderr);
  assert.match(remedy, expected.remedy, stderr);
  if (expected.says !== undefined) assert.match(sentence, expected.says);
}

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
  assert.equal((await first.ended).signal, "SIGKILL");
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
  const behind = { code: "CHECKPOINT_BEHIND", exit: EXIT.halted, remedy: /newest checkpoint file.*teardown/ };
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

test("a read-only folder is refused before anything is made; a file in it, too", async () => {
  const { database, home, change, slot, slotExists, assertEqual, caughtUp } = await prepare();
  const folder = temporaryFolder("read-only");
  const settings = {
    env: { CHECKPOINT_PATH: folder },
    script: join(PROJECT, "tests/faults/program_as_nobody.ts"),
  };
  const unusable = { code: "CHECKPOINT_UNUSABLE", exit: EXIT.setup, remedy: /folder's rights/ };
  try {
    chmodSync(folder, 0o555);
    assertRefused(await home.run(["--bootstrap"], settings), unusable);
    assert.equal(await slotExists(), false, `a slot was made in ${database.name}`);
    chmodSync(folder, 0o755);
    const { code, stderr } = await home.run(["--bootstrap"], settings);
    assert.equal(code, 0, stderr);
    await change();
    chmodSync(folder, 0o555);
    assertRefused(await home.run([], settings), unusable);
    chmodSync(folder, 0o755);
    renameSync(join(folder, `${slot}.checkpoint`), home.checkpointFile(slot));
    await caughtUp();
    await assertEqual();
  } finally {
    chmodSync(folder, 0o755);
    removeFolder(folder);
  }
});

/** A file system of 1 MB, where one may be mounted; else no file of a process may grow beyond 400 kB. */
const small = (() => {
  const folder = temporaryFolder("full");
  const mount = ["-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs", folder];
  const mounted = isRoot() && spawnSync("mount", mount, { stdio: "ignore" }).status === 0;
  after(() => {
    if (mounted) spawnSync("umount", [folder]);
    removeFolder(folder);
  });
  return { folder, what: mounted ? "a small file system" : "a limit on the size of files", mounted };
})();

test(`the disk is full (${small.what}): the run halts, no position is lost, and it goes on when there is room`, async () => {
  const { database, home, slot, caughtUp, assertEqual } = await prepare();
  const settings = {
    env: { CHECKPOINT_PATH: small.folder },
    ...(small.mounted ? {} : { shell: "trap '' XFSZ; ulimit -f 800" }),
  };
  const unusable = { code: "CHECKPOINT_UNUSABLE", exit: EXIT.setup, remedy: /free space/ };
  const run = await home.start(["--daemon", "--bootstrap"], settings);
  await run.ready();
  const file = join(small.folder, `${slot}.checkpoint`);
  const writers = startWriters(database.url, seededRandom(3), 2);
  try {
    // What a minute of changes would write.
    if (small.mounted) fill(join(small.folder, "ballast"));
    assertRefused(await run.ended, unusable);
  } finally {
    await writers.stop();
  }
  if (small.mounted) {
    assertRefused(await home.run([], settings), unusable);
    rmSync(join(small.folder, "ballast"));
  }
  for (const name of [file, `${file}-wal`]) {
    if (existsSync(name)) copyFileSync(name, name.replace(small.folder, home.folder));
  }
  const { stderr } = await caughtUp();
  assert.match(
    stderr,
    /following slot \S+ of database \S+ from [0-9A-F]+\/[0-9A-F]+/,
    "the position was kept",
  );
  await assertEqual();
});

/** Writes to a file until there is no more room. */
function fill(file: string): void {
  for (let size = 2 ** 20; size >= 1; size = Math.floor(size / 2)) {
    try {
      writeFileSync(file, Buffer.alloc(size), { flag: "a" });
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
    }
  }
}
