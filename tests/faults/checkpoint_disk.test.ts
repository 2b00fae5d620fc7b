/** A checkpoint file that cannot be written: no rights, no room. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { PROJECT } from "../../scripts/project.ts";
import { isRoot, removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";
import { EXIT } from "../../src/errors/codes.ts";
import { seededRandom } from "../support/random.ts";
import { assertRefused, prepare } from "./file_tree.ts";
import { startWriters } from "./tree.ts";

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
    assertRefused(await run.exit(), unusable);
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
