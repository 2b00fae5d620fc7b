/** How long a COPY may be held back by what is done with its rows. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { CopyWork, HeldUpError } from "../../src/documents/copy_work.ts";

const SECOND = 1_000;

/** Work of which pieces are ended by hand. */
function begin(work: CopyWork): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  work.begin(() => promise);
  return resolve;
}

/** What becomes of a wait for room, when so much time has passed. */
async function outcome(room: Promise<void>): Promise<string> {
  const settled = room.then(
    () => "room",
    (error: unknown) => error instanceof HeldUpError ? "held up" : "failed",
  );
  const turns = (async () => {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    return "waiting";
  })();
  return await Promise.race([settled, turns]);
}

test("a wait of 10 s is too long, and so are shorter ones from 30 s on", async (t) => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.after(() => mock.timers.reset());
  const work = new CopyWork(2);
  const ends = [begin(work)];
  assert.equal(await outcome(work.room()), "room");
  for (let at = 0; at < 3; at++) {
    ends.push(begin(work));
    const room = work.room();
    mock.timers.tick(9 * SECOND);
    assert.equal(await outcome(room), "waiting");
    ends.shift()?.();
    assert.equal(await outcome(room), "room");
  }
  ends.push(begin(work));
  const room = work.room();
  mock.timers.tick(4 * SECOND);
  assert.equal(await outcome(room), "held up");

  const other = new CopyWork(1);
  begin(other);
  const long = other.room();
  mock.timers.tick(10 * SECOND);
  assert.equal(await outcome(long), "held up");
});

test("a failure is told at the next piece and at the end, and what is under way is awaited", async () => {
  const work = new CopyWork(2);
  work.begin(() => Promise.reject(new Error("first")));
  const end = begin(work);
  await work.room();
  assert.throws(() => work.begin(() => Promise.resolve()), /first/);
  const ended = work.end().then(() => "ended");
  assert.equal(await Promise.race([ended, Promise.resolve("open")]), "open");
  end();
  assert.equal(await ended, "ended");
  assert.throws(() => work.throwFailure(), /first/);
});
