import assert from "node:assert/strict";
import {
  chmodSync,
  copyFileSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, beforeEach, test } from "node:test";
import fc from "fast-check";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { APPLICATION_ID, FORMAT_STEPS } from "../../src/checkpoint/format.ts";
import type { DeadLetterEntry, Identity, LoadChunk, TakenDocument } from "../../src/checkpoint/types.ts";
import type { ErrorCode } from "../../src/errors/codes.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";
import { seededRandom } from "../support/random.ts";
import { lines, startChild } from "./child.ts";

const folder = temporaryFolder("checkpoint");
after(() => removeFolder(folder));

let path = "";
let files = 0;
beforeEach(() => {
  path = join(folder, `${files++}.checkpoint`);
});

const IDENTITY: Identity = {
  systemIdentifier: "7300000000000000001",
  timeline: 1,
  database: "shop",
  slot: "pgsync_shop",
};

function chunk(number: number, from: string | null = null, to: string | null = null): LoadChunk {
  return {
    number,
    heapSchema: "public",
    heapTable: "book",
    heapOid: 4294967295,
    filenode: 16_385,
    kind: "tid",
    from,
    to,
  };
}

/** As large as versions come: timeline 1,000. */
const VERSION = 1_000n << 51n;

function taken(id: string, version = VERSION): TakenDocument {
  return { id, version };
}

function letter(id: string, reason = "no such field"): DeadLetterEntry {
  return {
    index: "books",
    id,
    operation: "index",
    status: 400,
    type: "mapper_parsing_exception",
    reason,
    position: 7n,
    version: VERSION,
  };
}

function fails(code: ErrorCode, words: RegExp, act: () => unknown): void {
  assert.throws(act, (error) => {
    assert.ok(error instanceof PgsyncError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, words);
    return true;
  });
}

test("a new file is empty, belongs to nobody, and is for its owner only", () => {
  using checkpoint = Checkpoint.open(path);
  assert.equal(checkpoint.identity(), null);
  assert.equal(checkpoint.position(), null);
  assert.equal(checkpoint.load("books"), null);
  assert.deepEqual(checkpoint.listDeadLetters(), []);
  checkpoint.savePosition(1n);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(`${path}-wal`).mode & 0o777, 0o600);
});

test("a file that others could read is closed to them", () => {
  Checkpoint.open(path).close();
  chmodSync(path, 0o644);
  Checkpoint.open(path).close();
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test("the journal is a WAL, locked without memory shared between processes", () => {
  using _checkpoint = Checkpoint.open(path);
  assert.equal(statSync(`${path}-wal`).isFile(), true);
  assert.throws(() => statSync(`${path}-shm`), { code: "ENOENT" });
});

test("the position is kept and only grows", () => {
  {
    using checkpoint = Checkpoint.open(path);
    assert.equal(checkpoint.savePosition(0x16_B374D848n), 0x16_B374D848n);
    assert.equal(checkpoint.savePosition(5n), 0x16_B374D848n, "an older position is not taken");
  }
  using checkpoint = Checkpoint.open(path);
  assert.equal(checkpoint.position(), 0x16_B374D848n);
});

test("positions: whatever is saved, the greatest stands (all 64 bits)", () => {
  using checkpoint = Checkpoint.open(path);
  let greatest = 0n;
  fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (lsn) => {
    if (lsn > greatest) greatest = lsn;
    assert.equal(checkpoint.savePosition(lsn), greatest);
    assert.equal(checkpoint.position(), greatest);
  }));
});

test("the identity is kept; a run of its own kind passes", () => {
  {
    using checkpoint = Checkpoint.open(path);
    checkpoint.checkIdentity(IDENTITY); // nobody's file
    assert.equal(checkpoint.identity(), null);
    checkpoint.adopt(IDENTITY);
  }
  using checkpoint = Checkpoint.open(path);
  checkpoint.checkIdentity(IDENTITY);
  assert.deepEqual(checkpoint.identity(), IDENTITY);
});

test("a promoted standby passes, and its timeline is recorded; the way back does not", () => {
  using checkpoint = Checkpoint.open(path);
  checkpoint.adopt(IDENTITY);
  checkpoint.checkIdentity({ ...IDENTITY, timeline: 3 });
  assert.equal(checkpoint.identity()?.timeline, 3);
  fails(
    "CHECKPOINT_FOREIGN",
    /for timeline 3, but the server is still on 2/,
    () => checkpoint.checkIdentity({ ...IDENTITY, timeline: 2 }),
  );
});

test("a foreign file is refused, and what differs is named", () => {
  using checkpoint = Checkpoint.open(path);
  checkpoint.adopt(IDENTITY);
  fails(
    "CHECKPOINT_FOREIGN",
    /system identifier 7300000000000000001, now 42/,
    () => checkpoint.checkIdentity({ ...IDENTITY, systemIdentifier: "42" }),
  );
  fails(
    "CHECKPOINT_FOREIGN",
    /for database shop, now store; for slot pgsync_shop, now pgsync_store/,
    () => checkpoint.checkIdentity({ ...IDENTITY, database: "store", slot: "pgsync_store" }),
  );
  assert.deepEqual(checkpoint.identity(), IDENTITY, "a refused identity is not recorded");
});

test("a file may be emptied for its own slot and database only, be it on another server", () => {
  using checkpoint = Checkpoint.open(path);
  checkpoint.checkOwner(IDENTITY); // nobody's file
  checkpoint.adopt(IDENTITY);
  checkpoint.checkOwner({ ...IDENTITY });
  fails(
    "CHECKPOINT_FOREIGN",
    /for database shop, now store\.$/,
    () => checkpoint.checkOwner({ ...IDENTITY, database: "store" }),
  );
  fails(
    "CHECKPOINT_FOREIGN",
    /for slot pgsync_shop, now other\.$/,
    () => checkpoint.checkOwner({ ...IDENTITY, slot: "other" }),
  );
});

test("an initial load: planned, done chunk by chunk across restarts, finished", () => {
  const chunks = [chunk(0, null, "(0,0)"), chunk(1, "(0,0)", "(64,0)"), {
    ...chunk(2, '["a"]'),
    kind: "keys" as const,
  }];
  {
    using checkpoint = Checkpoint.open(path);
    checkpoint.planLoad("books", "books_1", chunks);
    checkpoint.planLoad("authors", "authors_1", [chunk(0)]);
    checkpoint.chunkDone("books", 1, 5000);
  }
  using checkpoint = Checkpoint.open(path);
  assert.deepEqual(checkpoint.load("books"), {
    generation: "books_1",
    chunks: chunks.map((planned) => ({
      ...planned,
      done: planned.number === 1,
      documents: planned.number === 1 ? 5000 : 0,
    })),
    finished: false,
    endLsn: null,
  });
  fails("INTERNAL", /2 chunks are not done/, () => checkpoint.finishLoad("books", 100n));
  checkpoint.chunkDone("books", 0, 4999);
  checkpoint.chunkDone("books", 2, 0);
  checkpoint.finishLoad("books", 100n);
  const load = checkpoint.load("books");
  assert.equal(load?.finished, true);
  assert.equal(load.endLsn, 100n);
  assert.equal(checkpoint.load("authors")?.finished, false);
});

test("a load planned anew replaces the old plan; a forgotten one is gone", () => {
  using checkpoint = Checkpoint.open(path);
  checkpoint.planLoad("books", "books_1", [chunk(0), chunk(1)]);
  checkpoint.chunkDone("books", 0, 10);
  checkpoint.planLoad("books", "books_2", [chunk(0)]);
  assert.deepEqual(checkpoint.load("books")?.chunks, [{ ...chunk(0), done: false, documents: 0 }]);
  checkpoint.forgetLoad("books");
  assert.equal(checkpoint.load("books"), null);
  fails("INTERNAL", /has no chunk 0/, () => checkpoint.chunkDone("books", 0, 1));
  fails("INTERNAL", /No load/, () => checkpoint.finishLoad("books", 1n));
});

test("an empty table's load has no chunks and can be finished", () => {
  using checkpoint = Checkpoint.open(path);
  checkpoint.planLoad("books", "books_1", []);
  checkpoint.finishLoad("books", 3n);
  assert.equal(checkpoint.load("books")?.finished, true);
});

test("a dead letter that is refused again keeps its first time and counts", () => {
  const first = new Date("2026-01-01T00:00:00Z");
  const last = new Date("2026-01-02T00:00:00Z");
  using checkpoint = Checkpoint.open(path);
  assert.equal(checkpoint.addDeadLetters([letter("1"), letter("2")], first).length, 2);
  const again = { ...letter("1", "too large"), status: 413, position: null };
  assert.deepEqual(checkpoint.addDeadLetters([again, letter("3")], last).map(({ id }) => id), ["3"]);
  const { version: _, ...kept } = letter("1", "too large");
  const { version: __, ...other } = letter("2");
  assert.deepEqual(checkpoint.listDeadLetters("books", 2), [
    // Who tries again by hand knows no position.
    { ...kept, status: 413, firstAt: first, lastAt: last, tries: 2 },
    { ...other, firstAt: first, lastAt: first, tries: 1 },
  ]);
  assert.deepEqual(checkpoint.listDeadLetters("authors"), []);
});

test("dead letters are listed page by page, and found by their ids", () => {
  using checkpoint = Checkpoint.open(path);
  // In the order of their bytes; the engine takes no empty id, so it is a dead letter.
  const ids = ["", " ", "1", "10", "2", "Z", "a", "é", "\u{1F600}"];
  checkpoint.addDeadLetters(ids.map((id) => letter(id)).toReversed(), new Date());
  checkpoint.addDeadLetters([{ ...letter("0"), index: "authors" }], new Date());
  const paged: string[] = [];
  for (let after: string | null = null;;) {
    const page: string[] = checkpoint.listDeadLetters("books", 2, after).map(({ id }) => id);
    after = page.at(-1) ?? null;
    if (after === null) break;
    paged.push(...page);
  }
  assert.deepEqual(paged, ids);
  assert.equal(checkpoint.listDeadLetters().length, 10);
  assert.deepEqual(checkpoint.findDeadLetters("books", ["2", "0", ""]).map(({ id }) => id), ["2", ""]);
});

test("dead letters are counted, removed when they are taken, and dropped", () => {
  let told = 0;
  {
    using checkpoint = Checkpoint.open(path);
    checkpoint.onDeadLetters = () => told++;
    checkpoint.addDeadLetters(
      [letter("1"), letter("2"), letter("2"), { ...letter("1"), index: "authors" }],
      new Date(),
    );
    assert.equal(checkpoint.deadLetterCount("books"), 2);
    assert.equal(checkpoint.deadLetterCount("none"), 0);
    assert.equal(checkpoint.removeDeadLetters("books", [taken("1"), taken("7")]), 1);
    assert.equal(checkpoint.removeDeadLetters("none", [taken("1")]), 0);
    checkpoint.addDeadLetters([letter("3"), letter("4")], new Date());
    assert.equal(checkpoint.dropDeadLetters("books", ["3", "7"]), 1);
    assert.equal(told, 4);
    assert.equal(checkpoint.dropDeadLetters("none", ["1"]), 0);
    assert.equal(told, 4);
  }
  using checkpoint = Checkpoint.open(path);
  assert.equal(checkpoint.deadLetterCount("books"), 2);
  assert.equal(checkpoint.deadLetterCount("authors"), 1);
  assert.equal(checkpoint.dropDeadLetters("books", checkpoint.deadLetterIds("books", 10, null)), 2);
  assert.equal(checkpoint.deadLetterCount("books"), 0);
  assert.equal(checkpoint.deadLetterCount("authors"), 1, "another index keeps its own");
});

test("an older build that is taken does not settle what was refused; versions beyond 2^53 are told apart", () => {
  const refused = VERSION + 5n;
  {
    using checkpoint = Checkpoint.open(path);
    checkpoint.addDeadLetters([{ ...letter("1"), version: refused }], new Date());
    // An older build is refused later.
    checkpoint.addDeadLetters([{ ...letter("1"), version: refused - 2n }], new Date());
  }
  using checkpoint = Checkpoint.open(path);
  assert.equal(checkpoint.removeDeadLetters("books", [taken("1", refused - 1n)]), 0);
  assert.equal(checkpoint.removeDeadLetters("books", [taken("1", refused)]), 1);
});

test("dead letters and position move together or not at all", () => {
  using checkpoint = Checkpoint.open(path);
  checkpoint.savePosition(1n);
  const fault = new Error("the process thinks better of it");
  assert.throws(() =>
    checkpoint.transaction(() => {
      checkpoint.addDeadLetters([letter("1")], new Date());
      checkpoint.savePosition(2n);
      assert.equal(checkpoint.deadLetterCount("books"), 1);
      throw fault;
    }), fault);
  assert.equal(checkpoint.position(), 1n);
  assert.equal(checkpoint.deadLetterCount("books"), 0, "the count in memory went back too");
  assert.equal(checkpoint.removeDeadLetters("books", [taken("1")]), 0);
});

test("a transaction inside another is undone alone when its error is caught", () => {
  using checkpoint = Checkpoint.open(path);
  const result = checkpoint.transaction(() => {
    checkpoint.savePosition(1n);
    assert.throws(() =>
      checkpoint.transaction(() => {
        checkpoint.savePosition(2n);
        throw new Error("inner");
      }), /inner/);
    return "outer";
  });
  assert.equal(result, "outer");
  assert.equal(checkpoint.position(), 1n);
});

test("a transaction takes no promise: it would commit before the work is done", () => {
  using checkpoint = Checkpoint.open(path);
  assert.throws(() => checkpoint.transaction(() => Promise.resolve(checkpoint.savePosition(9n))), TypeError);
  assert.equal(checkpoint.position(), null);
});

test("reset leaves what a new file holds", () => {
  using checkpoint = Checkpoint.open(path);
  checkpoint.adopt(IDENTITY);
  checkpoint.savePosition(1n);
  checkpoint.planLoad("books", "books_1", [chunk(0)]);
  checkpoint.addDeadLetters([letter("1")], new Date());
  checkpoint.reset();
  assert.equal(checkpoint.identity(), null);
  assert.equal(checkpoint.position(), null);
  assert.equal(checkpoint.load("books"), null);
  assert.equal(checkpoint.deadLetterCount("books"), 0);
});

test("what other documents were made of is forgotten, once", () => {
  using checkpoint = Checkpoint.open(path);
  for (const index of ["books", "authors", "shops"]) checkpoint.saveSource(index, index);
  assert.deepEqual(checkpoint.keepSources(["books", "new"]).toSorted(), ["authors", "shops"]);
  assert.deepEqual(["books", "authors", "shops"].map((index) => checkpoint.source(index)), [
    "books",
    null,
    null,
  ]);
  assert.deepEqual(checkpoint.keepSources(["books"]), []);
});

test("the last transaction stays with its position, until the history is another", () => {
  const commit = { lsn: 0x16_B374D848n, xid: 4_294_967_295, timeMs: 1_700_000_000_000.123 };
  {
    using checkpoint = Checkpoint.open(path);
    assert.equal(checkpoint.lastCommit(), null);
    checkpoint.savePosition(0x16_B374D900n, commit);
    checkpoint.savePosition(0x16_B374DA00n);
    // An older position changes nothing.
    checkpoint.savePosition(0x16_B374D000n, { ...commit, xid: 1 });
    checkpoint.saveSource("books", "books");
    checkpoint.planLoad("books", "books_1", [chunk(0)]);
    checkpoint.chunkDone("books", 0, 1);
  }
  using checkpoint = Checkpoint.open(path);
  assert.deepEqual(checkpoint.lastCommit(), commit);
  checkpoint.forgetHistory();
  assert.deepEqual([checkpoint.lastCommit(), checkpoint.source("books"), checkpoint.load("books")], [
    null,
    null,
    null,
  ]);
  assert.equal(checkpoint.position(), 0x16_B374DA00n);
  checkpoint.savePosition(0x16_B374DB00n, commit);
  checkpoint.followOn(0x16_B374DC00n);
  assert.deepEqual([checkpoint.lastCommit(), checkpoint.position()], [null, 0x16_B374DC00n]);
});

test("remove leaves no file, unless somebody holds it", () => {
  const checkpoint = Checkpoint.open(path);
  fails("CHECKPOINT_LOCKED", /Another process/, () => Checkpoint.remove(path));
  checkpoint.close();
  checkpoint.close(); // twice is harmless
  Checkpoint.remove(path);
  assert.throws(() => statSync(path), { code: "ENOENT" });
});

test("random bytes, another database, a truncated file, a missing folder: CHECKPOINT_UNUSABLE", () => {
  writeFileSync(path, crypto.getRandomValues(new Uint8Array(8192)));
  const before = readFileSync(path);
  fails("CHECKPOINT_UNUSABLE", /file is not a database/, () => Checkpoint.open(path));
  assert.deepEqual(readFileSync(path), before, "somebody's file is left as it is");

  const other = join(folder, "other.sqlite");
  const database = new DatabaseSync(other);
  database.exec("CREATE TABLE customer (id INTEGER)");
  database.close();
  fails("CHECKPOINT_UNUSABLE", /another program's database/, () => Checkpoint.open(other));

  const cut = join(folder, "cut.checkpoint");
  {
    using checkpoint = Checkpoint.open(cut);
    checkpoint.planLoad("books", "books_1", Array.from({ length: 1000 }, (_, number) => chunk(number)));
  }
  truncateSync(cut, statSync(cut).size - 8192);
  fails("CHECKPOINT_UNUSABLE", /damaged|malformed/, () => Checkpoint.open(cut));

  fails(
    "CHECKPOINT_UNUSABLE",
    /no such file or directory/i,
    () => Checkpoint.open(join(folder, "missing", "c")),
  );
});

test(
  "a folder in which nothing can be made: CHECKPOINT_UNUSABLE",
  { skip: process.platform !== "linux" },
  () => {
    fails("CHECKPOINT_UNUSABLE", /cannot be used/, () => Checkpoint.open("/proc/pgsync.checkpoint"));
  },
);

test("a read-only folder or file: CHECKPOINT_UNUSABLE", async () => {
  const opened = async (file: string) => {
    const child = startChild("./opener.ts", file);
    // It closes the file after it has spoken, and takes the WAL away.
    const gone = new Promise((resolve) => child.once("exit", resolve));
    const said: string[] = [];
    for await (const line of lines(child)) said.push(line);
    await gone;
    return said.join("\n");
  };
  // Not below `folder`, which another user cannot enter.
  const closed = temporaryFolder("read-only");
  const inside = join(closed, "c.checkpoint");
  try {
    assert.equal(await opened(inside), "ok");
    chmodSync(closed, 0o555);
    assert.match(await opened(join(closed, "new.checkpoint")), /^CHECKPOINT_UNUSABLE .* cannot be used: /);
    assert.match(await opened(inside), /^CHECKPOINT_UNUSABLE .* cannot be used: /);
    chmodSync(closed, 0o755);
    chmodSync(inside, 0o400);
    // Its owner may make it writable again, and opening does.
    assert.equal(await opened(inside), "ok");
    assert.equal(statSync(inside).mode & 0o777, 0o600);
  } finally {
    removeFolder(closed);
  }
});

/** All that a file holds, as text. */
function contentOf(file: string): string {
  using checkpoint = Checkpoint.open(file);
  const state = [
    checkpoint.identity(),
    checkpoint.position(),
    checkpoint.load("books"),
    checkpoint.source("books"),
    checkpoint.listDeadLetters(null, 1_000),
  ];
  return JSON.stringify(state, (_key, value: unknown) => typeof value === "bigint" ? String(value) : value);
}

const SEED = Number(process.env["PGSYNC_TEST_SEED"] ?? Date.now() % 1_000_000);

test(`a file that is cut or overwritten anywhere is refused, or nothing of what it says has changed (PGSYNC_TEST_SEED=${SEED})`, () => {
  const random = seededRandom(SEED);
  {
    using checkpoint = Checkpoint.open(path);
    checkpoint.adopt(IDENTITY);
    checkpoint.savePosition(0x16_B374D848n);
    checkpoint.planLoad(
      "books",
      "books_1",
      Array.from({ length: 400 }, (_, number) => chunk(number, "(0,0)", "(64,0)")),
    );
    for (let number = 0; number < 400; number += 2) checkpoint.chunkDone("books", number, number);
    checkpoint.saveSource("books", "x".repeat(10_000));
    checkpoint.addDeadLetters(
      Array.from({ length: 100 }, (_, id) => letter(String(id), "y".repeat(200))),
      new Date(),
    );
  }
  const whole = readFileSync(path);
  const content = contentOf(path);
  const pages = whole.length / 4_096;
  assert.ok(Number.isInteger(pages) && pages > 15, `${pages} pages`);
  const damaged = join(folder, "damaged.checkpoint");
  const check = (bytes: Uint8Array, what: string) => {
    rmSync(`${damaged}-wal`, { force: true });
    writeFileSync(damaged, bytes);
    let found: string;
    try {
      found = contentOf(damaged);
    } catch (error) {
      assert.ok(error instanceof PgsyncError && error.code === "CHECKPOINT_UNUSABLE", `${what}: ${error}`);
      return;
    }
    assert.equal(found, content, what);
  };
  for (let page = 0; page < pages; page++) {
    const overwritten = Uint8Array.from(whole);
    overwritten.set(Uint8Array.from({ length: 4_096 }, () => random.below(256)), page * 4_096);
    check(overwritten, `page ${page} of ${pages} overwritten`);
    if (page > 0) check(whole.subarray(0, page * 4_096), `cut after ${page} of ${pages} pages`);
    // In its header, the pointers to its cells, the room between, and within its first and its last value.
    for (
      const region of [
        1,
        8 + random.below(64),
        100 + random.below(1_000),
        2_048,
        4_000 + random.below(95),
        4_095,
      ]
    ) {
      const length = page * 4_096 + region;
      check(whole.subarray(0, length), `cut after ${length} bytes, in page ${page} of ${pages}`);
    }
  }
});

test("the tail of the last value: SQLite itself does not notice that it is cut off", () => {
  {
    using checkpoint = Checkpoint.open(path);
    checkpoint.savePosition(1n);
    checkpoint.saveSource("books", "x".repeat(20_000));
  }
  truncateSync(path, statSync(path).size - 10);
  fails("CHECKPOINT_UNUSABLE", /is damaged: it was cut/, () => Checkpoint.open(path));
});

/** Lays an older copy of the main file beside the WAL of a run that was killed. @param change what that copy does not know */
function layBesideNewestWal(change: (checkpoint: Checkpoint) => void): void {
  const copies = { main: `${path}.main`, wal: `${path}.wal` };
  {
    using checkpoint = Checkpoint.open(path);
    checkpoint.savePosition(1n);
    checkpoint.planLoad("books", "books_1", [chunk(0), chunk(1)]);
    checkpoint.addDeadLetters([letter("1")], new Date());
  }
  copyFileSync(path, copies.main);
  {
    using checkpoint = Checkpoint.open(path);
    change(checkpoint);
  }
  {
    using checkpoint = Checkpoint.open(path);
    checkpoint.savePosition(2n);
    copyFileSync(`${path}-wal`, copies.wal);
  }
  renameSync(copies.main, path);
  renameSync(copies.wal, `${path}-wal`);
}

const CHANGES: Readonly<Record<string, (checkpoint: Checkpoint) => void>> = {
  "a dead letter more": (checkpoint) => checkpoint.addDeadLetters([letter("2")], new Date()),
  "a dead letter less": (checkpoint) => checkpoint.dropDeadLetters("books", ["1"]),
  "a dead letter refused again": (checkpoint) => checkpoint.addDeadLetters([letter("1")], new Date()),
  "a chunk done": (checkpoint) => checkpoint.chunkDone("books", 1, 10),
};

for (const [what, change] of Object.entries(CHANGES)) {
  test(`an older copy of the file beside the newest WAL, ${what}: CHECKPOINT_UNUSABLE`, () => {
    layBesideNewestWal(change);
    fails("CHECKPOINT_UNUSABLE", /does not belong to the log beside it/, () => Checkpoint.open(path));
  });
}

test("the sums that stand with the position follow all that is done to the file", () => {
  const next = fc.oneof(
    fc.nat(5).map((id) => (checkpoint: Checkpoint) =>
      void checkpoint.addDeadLetters([letter(`${id}`)], new Date())
    ),
    fc.nat(5).map((id) => (checkpoint: Checkpoint) => void checkpoint.dropDeadLetters("books", [`${id}`])),
    fc.nat(5).map((id) => (checkpoint: Checkpoint) =>
      void checkpoint.removeDeadLetters("books", [taken(`${id}`)])
    ),
    fc.nat(2).map((number) => (checkpoint: Checkpoint) => {
      if (checkpoint.load("books") !== null) checkpoint.chunkDone("books", number, number + 1);
    }),
    fc.constant((checkpoint: Checkpoint) =>
      checkpoint.planLoad("books", "books_1", [chunk(0), chunk(1), chunk(2)])
    ),
    fc.constant((checkpoint: Checkpoint) => checkpoint.forgetLoad("books")),
    fc.bigInt({ min: 1n, max: 9n }).map((lsn) => (checkpoint: Checkpoint) =>
      void checkpoint.savePosition(lsn)
    ),
    fc.constant((checkpoint: Checkpoint) => checkpoint.reset()),
  );
  fc.assert(
    fc.property(fc.array(next, { maxLength: 20 }), (steps) => {
      rmSync(path, { force: true });
      {
        using checkpoint = Checkpoint.open(path);
        for (const step of steps) step(checkpoint);
      }
      Checkpoint.open(path).close();
    }),
    { numRuns: 50 },
  );
});

test("a file of which nothing is left is a new one", () => {
  {
    using checkpoint = Checkpoint.open(path);
    checkpoint.adopt(IDENTITY);
  }
  truncateSync(path, 0);
  using checkpoint = Checkpoint.open(path);
  assert.equal(checkpoint.identity(), null);
});

test("a disk that is full: CHECKPOINT_UNUSABLE; what was committed stays", async () => {
  // No file of the child's may grow beyond 64 kB.
  const child = startChild("./writer.ts", path, { shell: "trap '' XFSZ; ulimit -f 128; exec 2>&1" });
  const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
  let acknowledged = 0n;
  const said: string[] = [];
  for await (const line of lines(child)) {
    if (/^\d+$/.test(line)) acknowledged = BigInt(line);
    else said.push(line);
  }
  assert.notEqual(await exit, 0);
  assert.match(said.join("\n"), /PgsyncError: The checkpoint file .* cannot be used: disk I\/O error/);
  assert.ok(acknowledged > 0n);
  using checkpoint = Checkpoint.open(path);
  assert.equal(checkpoint.position(), acknowledged);
  assert.equal(BigInt(checkpoint.deadLetterCount("books")), acknowledged);
});

test("an older format is brought up to date, a newer one refused", () => {
  const older = new DatabaseSync(path); // step 0: marked as ours, nothing in it yet
  older.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
  older.close();
  {
    using checkpoint = Checkpoint.open(path);
    checkpoint.savePosition(1n);
  }
  const newer = new DatabaseSync(path);
  newer.exec(`PRAGMA user_version = ${FORMAT_STEPS.length + 1}`);
  newer.close();
  fails("CHECKPOINT_UNUSABLE", /newer version of pgsync/, () => Checkpoint.open(path));
});

test("a second process is told that the file is held; when the first is gone it gets in", async () => {
  const child = startChild("./writer.ts", path);
  const output = lines(child);
  await output.next(); // it holds the file and has committed
  fails("CHECKPOINT_LOCKED", /Another process holds/, () => Checkpoint.open(path));
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
  Checkpoint.open(path).close();
});

test(`kill -9 at any instant: what was committed is there, position and dead letters agree (PGSYNC_TEST_SEED=${SEED})`, async () => {
  const random = seededRandom(SEED);
  let acknowledged = 0n;
  for (let round = 0; round < 5; round++) {
    const child = startChild("./writer.ts", path);
    const killAfter = 1 + random.below(400);
    let seen = 0;
    for await (const line of lines(child)) {
      acknowledged = BigInt(line);
      if (++seen === killAfter) child.kill("SIGKILL");
    }
    using checkpoint = Checkpoint.open(path);
    const position = checkpoint.position() ?? 0n;
    assert.ok(position >= acknowledged, `stored ${position}, though ${acknowledged} was said to be durable`);
    assert.ok(
      position <= acknowledged + 1n,
      `stored ${position}, but nothing beyond ${acknowledged} + 1 was tried`,
    );
    assert.equal(BigInt(checkpoint.deadLetterCount("books")), position);
    assert.equal(checkpoint.listDeadLetters("books", 1_000_000).every((entry) => entry.tries === 1), true);
  }
});
