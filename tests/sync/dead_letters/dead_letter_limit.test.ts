import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { PgsyncError } from "../../../src/errors/error.ts";
import { DeadLetterLimit } from "../../../src/sync/dead_letters/dead_letter_limit.ts";

/** A limit of 100, and a list whose length a test says. */
function limited({ max = 100, daemon = true } = {}) {
  const faults: PgsyncError[] = [];
  const list = { length: 0 };
  const board = { fault: (error: PgsyncError) => void faults.push(error) };
  const limit = new DeadLetterLimit({ database: "shop", max, count: () => list.length, board, daemon });
  const at = (length: number) => {
    list.length = length;
    limit.check();
    return faults.length;
  };
  return { limit, faults, at };
}

const NEVER = new AbortController().signal;

describe("The limit of dead letters", () => {
  it("is told when it is passed, once, until the list has become clearly shorter", () => {
    const { at, faults } = limited();
    assert.deepEqual([at(100), at(101), at(5_000), at(100), at(101), at(91), at(101)], [0, 1, 1, 1, 1, 1, 1]);
    assert.deepEqual([at(90), at(101)], [1, 2]);
    assert.equal(faults[0]?.code, "DEAD_LETTER_LIMIT");
    assert.match(
      faults[0]?.message ?? "",
      /^101 documents of database "shop" are refused, more than the 100/,
    );
  });

  it("is none at 0", async () => {
    const { limit, at } = limited({ max: 0 });
    assert.equal(at(1_000_000), 0);
    await limit.allowsLoad(NEVER);
    limit.refuse();
  });

  it("lets a load wait until there are few enough, or the run ends", async () => {
    const { limit, at } = limited();
    at(100);
    await limit.allowsLoad(NEVER);
    at(101);
    let went = 0;
    const waiting = [0, 1].map(() => limit.allowsLoad(NEVER).then(() => went++));
    await turn();
    at(102);
    await turn();
    assert.equal(went, 0);
    at(100);
    await Promise.all(waiting);
    at(101);
    const stop = new AbortController();
    const ended = assert.rejects(limit.allowsLoad(stop.signal), /the end/);
    stop.abort(new Error("the end"));
    await ended;
    await assert.rejects(limit.allowsLoad(stop.signal), /the end/);
  });

  it("ends a load for which nobody would wait", async () => {
    const { limit, at } = limited({ daemon: false });
    limit.refuse();
    at(101);
    await assert.rejects(limit.allowsLoad(NEVER), { code: "DEAD_LETTER_LIMIT" });
    assert.throws(() => limit.refuse(), { code: "DEAD_LETTER_LIMIT" });
  });
});
