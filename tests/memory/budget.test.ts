import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LEAST_BUDGET, MemoryBudget } from "../../src/memory/budget.ts";
import { RUN_DEFAULTS } from "../../src/sync/options.ts";
import { RunMemory } from "../../src/sync/run_memory.ts";

test("the shares make up the budget, and what they hold is added up", async () => {
  const budget = new MemoryBudget(LEAST_BUDGET);
  const shares = [budget.changes, budget.keys, budget.documents, budget.requests];
  assert.equal(shares.reduce((sum, { limit }) => sum + limit, 0), LEAST_BUDGET);
  const held = await Promise.all(shares.map((share, at) => share.acquire(10 + at)));
  assert.deepEqual([budget.held, budget.most], [46, 46]);
  held[0]?.release();
  assert.deepEqual([budget.held, budget.most], [36, 46]);
});

test("requests and pages are cut to the budget", () => {
  const { work } = new RunMemory(RUN_DEFAULTS, 1, 1);
  assert.deepEqual([work.bulkBytes, work.bulkDocuments], [
    RUN_DEFAULTS.bulkBytes,
    RUN_DEFAULTS.bulkDocuments,
  ]);
  const least = new RunMemory({ ...RUN_DEFAULTS, maxMemoryBytes: LEAST_BUDGET }, 3, 2);
  const { documents } = least.budget;
  assert.ok(least.work.roomOfPage(1_000) * 2 <= documents.limit, "and several pages that are compared");
  assert.equal(least.batchBytes * 2, least.budget.changes.limit);
  assert.throws(() => new RunMemory({ ...RUN_DEFAULTS, maxMemoryBytes: LEAST_BUDGET - 1 }, 1, 1), RangeError);
});

test("as many requests as may be under way or collected have room beside each other", () => {
  const mebibytes = fc.integer({ min: 4, max: 256 });
  const workers = fc.integer({ min: 1, max: 64 });
  const limits = fc.record({
    bulkBytes: fc.integer({ min: 1, max: 64 * MEBIBYTE }),
    bulkDocuments: fc.integer({ min: 1, max: 1_000_000 }),
    bulkConcurrency: workers,
    loadWorkers: workers,
  });
  fc.assert(fc.property(mebibytes, limits, (size, wanted) => {
    const { budget: { documents }, work } = new RunMemory(
      { ...RUN_DEFAULTS, ...wanted, maxMemoryBytes: size * MEBIBYTE },
      1,
      1,
    );
    assert.ok(work.bulkBytes > 0 && work.bulkBytes <= wanted.bulkBytes);
    assert.ok(work.bulkDocuments > 0 && work.bulkDocuments <= wanted.bulkDocuments);
    const fit = Math.min(wanted.bulkConcurrency + wanted.loadWorkers, Math.floor(documents.limit / SMALLEST));
    assert.ok(work.roomOfRequest(work.bulkDocuments) * fit <= documents.limit);
  }));
});

const MEBIBYTE = 1024 * 1024;
/** The room that a request is left, however many there are to be. */
const SMALLEST = 192 * 1024;
