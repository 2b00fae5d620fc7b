import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type SlotLook, WalBudget } from "../../../src/sync/slot/wal_budget.ts";

const MB = 1e6;

/** A slot with a limit of 1,000 MB that is looked at every 5 s. */
class Slot {
  readonly #budget: WalBudget;
  #at = 0;
  #kept = 0;

  constructor(private readonly limit: number | null = 1_000 * MB, most = 0) {
    this.#budget = new WalBudget("pgsync_shop", most);
  }

  /** Five seconds later it keeps so much, in MB. */
  keeps(kept: number, changes: Partial<SlotLook> = {}) {
    this.#at += 5_000;
    this.#kept = kept * MB;
    return this.#budget.look({
      at: this.#at,
      retainedBytes: this.#kept,
      safeBytes: this.limit === null ? null : this.limit - this.#kept,
      walStatus: "reserved",
      unconfirmedBytes: this.#kept,
      ...changes,
    });
  }

  /** It grows by so much every 5 s, until it keeps so much. */
  grows(step: number, upTo: number) {
    let told = null;
    while (this.#kept < upTo * MB) told = this.keeps(this.#kept / MB + step);
    return told;
  }
}

describe("The WAL budget of a slot with a limit", () => {
  it("is nothing to tell of while the slot follows what is written, however small the budget is", () => {
    const slot = new Slot(64 * MB);
    for (let round = 0; round < 50; round++) {
      // PostgreSQL moves what a slot keeps in steps.
      for (const kept of [4, 8, 12, 4]) assert.equal(slot.keeps(kept), null);
    }
  });

  it("tells what is kept, how fast it grows, and how long it will do", () => {
    const slot = new Slot(10_000 * MB);
    const told = slot.grows(100, 3_100);
    assert.equal(
      told?.message,
      'The replication slot "pgsync_shop" keeps 3.1 GB of WAL; at 20 MB/s PostgreSQL will give it up in 5 min 45 s ' +
        "(max_slot_wal_keep_size), and the documents must then be loaded anew.",
    );
    assert.equal(told.level, 2);
  });

  it("grows in danger with the time and with the share that are left", () => {
    const slot = new Slot();
    const levels: number[] = [];
    // So slowly that the time does not count: 1 kB a second is left for days.
    for (const kept of [400, 501, 760, 910, 1_001]) {
      slot.keeps(kept - 0.005);
      for (let look = 0; look < 20; look++) slot.keeps(kept - 0.005);
      levels.push(slot.keeps(kept)?.level ?? 0);
    }
    assert.deepEqual(levels, [0, 1, 2, 3, 4]);
    assert.match(
      slot.keeps(1_002)?.message ?? "",
      /may give it up at its next checkpoint.*Raise max_slot_wal_keep_size/,
    );
    const fast = new Slot();
    assert.equal(fast.grows(2, 270), null, "0.4 MB/s: 730 MB last for more than half an hour");
    assert.equal(fast.grows(2, 290)?.level, 1);
  });

  it("keeps to what it told until it is clearly over", () => {
    const slot = new Slot();
    const settles = (kept: number) => {
      for (let look = 0; look < 20; look++) slot.keeps(kept);
      return slot.keeps(kept)?.level ?? 0;
    };
    assert.deepEqual([510, 495, 450, 405, 395, 505].map(settles), [1, 1, 1, 1, 0, 1]);
  });

  it("says when it is not this run that holds the slot, but not of what is only just confirmed", () => {
    const slot = new Slot();
    const told = Array.from(
      { length: 14 },
      () => slot.keeps(600, { unconfirmedBytes: 5 * MB })?.message ?? "",
    );
    const held = /keeps 600 MB of WAL \(an old transaction holds it/;
    // PostgreSQL notes every 15 s which transactions run; only then what is confirmed can go.
    assert.deepEqual(told.map((message) => held.test(message)), [...Array(12).fill(false), true, true]);
    assert.doesNotMatch(slot.keeps(600, { unconfirmedBytes: 600 * MB })?.message ?? "", held);
    assert.doesNotMatch(slot.keeps(600, { unconfirmedBytes: 5 * MB })?.message ?? "", held);
  });

  it("is over when the slot is lost, which has no limit then, either", () => {
    const slot = new Slot(1_000 * MB, 1);
    assert.equal(slot.keeps(999)?.level, 3);
    assert.equal(slot.keeps(999, { walStatus: "lost", safeBytes: null, unconfirmedBytes: 0 }), null);
  });
});

describe("The WAL of a slot without a limit", () => {
  it("is told of beyond a size, and again with each doubling", () => {
    const slot = new Slot(null, 1_000 * MB);
    assert.equal(slot.grows(100, 900), null);
    const told = slot.grows(100, 1_000);
    assert.equal(told?.level, 1);
    assert.equal(
      told.message,
      'The replication slot "pgsync_shop" keeps 1.0 GB of WAL, 20 MB more each second, and max_slot_wal_keep_size sets no limit: ' +
        "PostgreSQL's disk may fill up.",
    );
    assert.deepEqual([1_900, 2_000, 4_100, 3_900, 900, 800].map((kept) => slot.keeps(kept)?.level ?? 0), [
      1,
      2,
      3,
      3,
      1,
      0,
    ]);
  });

  it("is nothing to tell of where that is not wanted", () => {
    assert.equal(new Slot(null, 0).keeps(1e6), null);
  });

  it("is measured anew when somebody sets a limit", () => {
    const slot = new Slot(null, 1_000 * MB);
    slot.grows(100, 2_000);
    assert.equal(slot.keeps(2_000, { safeBytes: 8_000 * MB }), null);
  });
});
