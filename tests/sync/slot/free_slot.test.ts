import assert from "node:assert/strict";
import { test } from "node:test";
import { FreeSlotWatch } from "../../../src/sync/slot/free_slot.ts";

test("a slot is taken when it has been free for so long without a break", () => {
  const watch = new FreeSlotWatch(2_000);
  assert.equal(watch.look(false, 0), false);
  assert.equal(watch.look(true, 10_000), false);
  assert.equal(watch.look(true, 11_999), false);
  // Whoever followed it came back.
  assert.equal(watch.look(false, 12_000), false);
  assert.equal(watch.look(true, 12_500), false);
  assert.equal(watch.look(true, 14_499), false);
  assert.equal(watch.look(true, 14_500), true);
});

test("a server that does not answer says nothing of the slot, and whoever followed it has lost it, too", () => {
  const watch = new FreeSlotWatch(2_000);
  assert.equal(watch.look(true, 0), false);
  assert.equal(watch.look(null, 1_000), false);
  assert.equal(watch.look(true, 5_000), false);
  assert.equal(watch.look(true, 7_000), true);
});
