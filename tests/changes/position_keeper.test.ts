import assert from "node:assert/strict";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { PositionKeeper } from "../../src/changes/position_keeper.ts";
import { eventually } from "../support/eventually.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

describe("The position keeper", () => {
  let folder: string;
  let checkpoint: Checkpoint;
  let confirmed: { position: bigint; stored: bigint | null }[];
  const keep = () =>
    new PositionKeeper(
      checkpoint,
      (position) => confirmed.push({ position, stored: checkpoint.position() }),
      (error) => assert.fail(String(error)),
    );

  beforeEach(() => {
    folder = temporaryFolder("test");
    checkpoint = Checkpoint.open(join(folder, "a.checkpoint"));
    checkpoint.adopt({ systemIdentifier: "1", timeline: 1, database: "d", slot: "s" });
    confirmed = [];
  });
  afterEach(() => {
    checkpoint[Symbol.dispose]();
    removeFolder(folder);
  });

  it("confirms a position after it is stored, never before", async () => {
    const keeper = keep();
    keeper.advance(5n, null);
    await eventually(() => keeper.stored === 5n);
    assert.deepEqual(confirmed, [{ position: 5n, stored: 5n }]);
  });

  it("stores positions that come together as one, the greatest", () => {
    const keeper = keep();
    for (const position of [5n, 9n, 7n]) keeper.advance(position, null);
    keeper.flush();
    keeper.flush();
    assert.deepEqual(confirmed, [{ position: 9n, stored: 9n }]);
  });

  it("begins with what the file holds", () => {
    const before = keep();
    before.advance(5n, null);
    before.flush();
    const keeper = keep();
    assert.equal(keeper.stored, 5n);
    keeper.advance(4n, null);
    keeper.flush();
    assert.equal(confirmed.length, 1);
  });

  it("stores with a position the last transaction before it, and keeps it where none has ended since", () => {
    const first = { lsn: 3n, xid: 7, timeMs: 1_700_000_000_000.123 };
    const second = { ...first, lsn: 6n };
    const keeper = keep();
    keeper.advance(5n, first);
    assert.equal(keeper.lastCommit, null);
    keeper.flush();
    assert.deepEqual(keeper.lastCommit, first);
    keeper.advance(7n, second);
    keeper.advance(8n, null);
    keeper.flush();
    assert.deepEqual(keep().lastCommit, second);
    keeper.advance(9n, null);
    keeper.flush();
    assert.deepEqual(checkpoint.lastCommit(), second);
  });

  it("wakes who waits for a position, and lets go at the signal", async () => {
    const keeper = keep();
    const stop = new AbortController();
    const waiting = keeper.waitFor(5n, stop.signal);
    const longer = keeper.waitFor(6n, stop.signal);
    keeper.advance(5n, null);
    keeper.flush();
    await waiting;
    await keeper.waitFor(3n, stop.signal);
    stop.abort(new Error("over"));
    await assert.rejects(longer, /over/);
  });

  it("wakes who waits for a transaction behind a place, not before one has ended there", async () => {
    const keeper = keep();
    let isThere = false;
    const waiting = keeper.waitForCommit(5n, new AbortController().signal).then(() => isThere = true);
    keeper.advance(9n, { lsn: 4n, xid: 1, timeMs: 1 });
    keeper.flush();
    await Promise.resolve();
    assert.equal(isThere, false);
    keeper.advance(12n, { lsn: 10n, xid: 2, timeMs: 2 });
    keeper.flush();
    assert.equal(await waiting, true);
  });

  it("writes nothing after it is closed", async () => {
    const keeper = keep();
    keeper.advance(5n, null);
    keeper.close();
    // What was under way may still come to its end.
    keeper.advance(6n, null);
    await new Promise((resolve) => setTimeout(resolve));
    assert.equal(checkpoint.position(), null);
  });
});
