import assert from "node:assert/strict";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, test } from "node:test";
import { cached, cacheFolder } from "../../../scripts/servers/cache.ts";
import { isRoot, removeFolder, temporaryFolder } from "../../../scripts/servers/process.ts";

const saved = process.env["PGSYNC_CACHE"];
let cache = "";

beforeEach(() => {
  cache = temporaryFolder("cache");
  process.env["PGSYNC_CACHE"] = cache;
});

afterEach(() => {
  if (saved === undefined) delete process.env["PGSYNC_CACHE"];
  else process.env["PGSYNC_CACHE"] = saved;
  removeFolder(cache);
});

/** An entry that is installed by writing one file. */
function entry(install: (staging: string) => void) {
  return {
    name: "thing-1.0",
    label: "Thing",
    size: 3,
    install: (staging: string) => Promise.resolve(install(staging)),
  };
}

test("an entry is installed once, and found afterwards", async () => {
  let installed = 0;
  const thing = entry((staging) => {
    installed++;
    writeFileSync(join(staging, "file"), "abc");
  });
  const seen: [string, number, number | null][] = [];
  const folders = await Promise.all([
    cached(thing, (...progress) => seen.push(progress)),
    cached(thing),
  ]);
  assert.deepEqual(folders, [join(cache, "thing-1.0"), join(cache, "thing-1.0")]);
  assert.equal(await cached(thing), folders[0]);
  assert.equal(installed, 1);
  assert.deepEqual(readdirSync(cache), ["thing-1.0"]);
  assert.deepEqual([seen[0], seen.at(-1)], [["Thing", 0, 3], ["Thing", 3, 3]]);
});

test("an installation that fails leaves nothing, and can be tried again", async () => {
  const failing = entry((staging) => {
    writeFileSync(join(staging, "half"), "a");
    throw new Error("the line was cut");
  });
  await assert.rejects(cached(failing), /the line was cut/);
  assert.deepEqual(readdirSync(cache), []);
  await cached(entry((staging) => writeFileSync(join(staging, "file"), "abc")));
  assert.deepEqual(readdirSync(join(cache, "thing-1.0")), ["file"]);
});

test("of two processes at once, the slower one keeps what the other has installed", async () => {
  await cached(entry((staging) => {
    writeFileSync(join(staging, "slower"), "abc");
    mkdirSync(join(cache, "thing-1.0"));
    writeFileSync(join(cache, "thing-1.0", "quicker"), "abc");
  }));
  assert.deepEqual(readdirSync(cache), ["thing-1.0"]);
  assert.deepEqual(readdirSync(join(cache, "thing-1.0")), ["quicker"]);
});

test("what a killed process left behind is removed, what a living one is at is not", async () => {
  const living = `other-1.0.${process.pid}-abc.partial`;
  for (const name of ["other-1.0.999999999-abc.partial", living]) mkdirSync(join(cache, name));
  await cached(entry((staging) => writeFileSync(join(staging, "file"), "abc")));
  assert.deepEqual(readdirSync(cache).sort(), [living, "thing-1.0"]);
});

test("as root, a cache that the servers' user cannot enter is not taken", { skip: !isRoot() }, async () => {
  delete process.env["PGSYNC_CACHE"];
  const { XDG_CACHE_HOME: before } = process.env;
  const closed = join(cache, "closed");
  mkdirSync(closed, { mode: 0o700 });
  try {
    process.env["XDG_CACHE_HOME"] = closed;
    assert.equal(cacheFolder(), "/var/cache/pgsync-edge");
    process.env["XDG_CACHE_HOME"] = cache;
    assert.equal(cacheFolder(), join(cache, "pgsync-edge"));
    process.env["PGSYNC_CACHE"] = closed;
    await assert.rejects(cached(entry(() => {})), /cannot enter .*closed.*PGSYNC_CACHE/);
  } finally {
    if (before === undefined) delete process.env["XDG_CACHE_HOME"];
    else process.env["XDG_CACHE_HOME"] = before;
  }
});
