import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { inPortions } from "../../src/documents/in_portions.ts";
import { PortionOfRequests } from "../../src/documents/portion_of_requests.ts";
import { WorkMemory } from "../../src/documents/work_memory.ts";
import { LEAST_BUDGET, MemoryBudget } from "../../src/memory/budget.ts";

const NEVER = new AbortController().signal;
const WANTED = { bulkBytes: 100_000, bulkDocuments: 50 };

/** Makes requests of documents of these sizes, several batches of keys at once, and tells what became of them. */
async function written(batches: readonly (readonly number[])[]) {
  const budget = new MemoryBudget(LEAST_BUDGET);
  const memory = new WorkMemory(budget, WANTED, 1, 8);
  const ids: string[] = [];
  let largestBody = 0;
  await Promise.all(batches.map(async (sizes, batch) => {
    await inPortions(sizes.map((size, at) => `${batch}-${at}-${size}`), {
      share: memory.documents,
      roomOf: (count) => memory.roomOfRequest(count),
      work: async (keys, held) => {
        const portion = new PortionOfRequests(memory, held, keys.length, 1n, null);
        const collector = portion.begin();
        for (const key of keys) {
          await Promise.resolve();
          collector.add(key, Buffer.alloc(Number(key.split("-")[2]), 0x61));
        }
        if (portion.overflow !== null) {
          portion.discard();
          return portion.overflow;
        }
        const requests = portion.requests(0);
        const room = requests.reduce((sum, { body }) => sum + memory.bodies.roomFor(body.length), 0);
        assert.ok(room <= held.bytes, "what was made had room in what was held");
        for (const { body, items, release } of requests) {
          if (items.length > 1) largestBody = Math.max(largestBody, body.length);
          ids.push(...items.map(({ id }) => id));
          release?.();
        }
        return null;
      },
    }, NEVER);
  }));
  return { ids, largestBody, memory };
}

test("documents of any size come, each once, in what memory there is", async () => {
  const size = fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 0, max: 2_000 }) },
    { weight: 2, arbitrary: fc.integer({ min: 0, max: 200_000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 3_000_000 }) },
  );
  const batches = fc.array(fc.array(size, { maxLength: 60 }), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(batches, async (sizes) => {
      const { ids, largestBody, memory } = await written(sizes);
      const expected = sizes.flatMap((each, batch) => each.map((size, at) => `${batch}-${at}-${size}`));
      assert.deepEqual(ids.toSorted(), expected.toSorted());
      assert.equal(memory.documents.held, 0);
      assert.ok(largestBody <= memory.bodies.roomFor(0));
      const largest = sizes.flat().reduce((most, each) => Math.max(most, each), 0);
      const most = Math.max(memory.documents.limit, memory.roomOfRequest(1, largest + 1_000));
      assert.ok(memory.documents.most <= most, "no more than the share, or the one large document");
    }),
    { numRuns: 60 },
  );
});

test("what a statement discards leaves what the others have brought", async () => {
  const memory = new WorkMemory(new MemoryBudget(LEAST_BUDGET), WANTED, 1, 8);
  using held = await memory.documents.acquire(memory.roomOfRequest(100));
  const portion = new PortionOfRequests(memory, held, 100, 1n, null);
  portion.begin().add("kept", Buffer.from("{}"));
  const failing = portion.begin();
  for (let at = 0; at < 40; at++) failing.add(`lost${at}`, Buffer.alloc(4_000, 0x61));
  failing.discard();
  portion.begin().add("kept, too", null);
  const [request, ...others] = portion.requests(7);
  assert.deepEqual(others, []);
  assert.deepEqual(request?.items.map(({ id }) => id), ["kept", "kept, too"]);
  assert.equal(request?.body.toString().split("\n").length, 4);
  assert.equal(request?.builtAt, 7);
});

test("a portion that does not fit is divided, and a failure gives the memory back", async () => {
  const memory = new WorkMemory(new MemoryBudget(LEAST_BUDGET), WANTED, 1, 8);
  const seen: number[] = [];
  await inPortions(["a", "b", "c", "d", "e"], {
    share: memory.documents,
    roomOf: (count) => count,
    work: (keys, held) => {
      seen.push(keys.length);
      if (keys.length > 2) return Promise.resolve({ documents: 3, room: 10 });
      if (keys.includes("e") && held.bytes < 50) return Promise.resolve({ documents: 0, room: 50 });
      return Promise.resolve(null);
    },
  }, NEVER);
  assert.deepEqual(seen, [5, 1, 2, 2, 1, 1, 1]);
  const failing = inPortions(["a"], {
    share: memory.documents,
    roomOf: () => 5,
    work: () => Promise.reject(new Error("away")),
  }, NEVER);
  await assert.rejects(failing, /away/);
  assert.equal(memory.documents.held, 0);
});
