import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { inPortions } from "../../src/documents/in_portions.ts";
import { PortionOfRequests } from "../../src/documents/portion_of_requests.ts";
import { BYTES_AN_ITEM, WorkMemory } from "../../src/documents/work_memory.ts";
import { LEAST_BUDGET, MemoryBudget } from "../../src/memory/budget.ts";

const NEVER = new AbortController().signal;
const WANTED = { bulkBytes: 100_000, bulkDocuments: 50 };

/** Documents of one key: so many rows share it, each of so many bytes. */
interface Shared {
  readonly size: number;
  readonly rows: number;
}

const keyOf = (id: string) => id.slice(0, id.lastIndexOf("-"));

/** The documents of a key, which says what they are. */
function documentsOf(key: string): readonly { readonly id: string; readonly size: number }[] {
  const [, , size, rows] = key.split("-").map(Number);
  return Array.from({ length: rows ?? 0 }, (_, at) => ({ id: `${key}-${at}`, size: size ?? 0 }));
}

function keysOf(batches: readonly (readonly Shared[])[]): string[][] {
  return batches.map((keys, batch) => keys.map(({ size, rows }, at) => `${batch}-${at}-${size}-${rows}`));
}

/** Makes requests of such documents, several batches of keys at once, and tells what became of them. */
async function written(batches: readonly (readonly Shared[])[]) {
  const budget = new MemoryBudget(LEAST_BUDGET);
  const memory = new WorkMemory(budget, WANTED, 1, 8);
  const ids: string[] = [];
  let largestBody = 0;
  let statements = 0;
  await Promise.all(
    keysOf(batches).map(async (batch) => {
      await inPortions(batch, {
        share: memory.documents,
        roomOf: (count) => memory.roomOfRequest(count),
        work: async (keys, held) => {
          const portion = new PortionOfRequests(memory, held, keys.length, 1n, null);
          const collector = portion.begin();
          statements++;
          for (const key of keys) {
            await Promise.resolve();
            for (const { id, size } of documentsOf(key)) collector.add(id, Buffer.alloc(size, 0x61));
          }
          const { overflow } = portion;
          if (overflow !== null) {
            portion.discard();
            return { ...overflow, key: keyOf(overflow.id) };
          }
          const requests = portion.requests(0);
          const room = requests.reduce(
            (sum, { body, items }) => sum + memory.bodies.roomFor(body.length) + items.length * BYTES_AN_ITEM,
            0,
          );
          assert.ok(room <= held.bytes, "what was made had room in what was held");
          for (const { body, items, release } of requests) {
            if (items.length > 1) largestBody = Math.max(largestBody, body.length);
            ids.push(...items.map(({ id }) => id));
            release?.();
          }
          return null;
        },
      }, NEVER);
    }),
  );
  return { ids, largestBody, memory, statements };
}

test("documents of any size come, each once, in what memory there is", async () => {
  const size = fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 0, max: 2_000 }) },
    { weight: 2, arbitrary: fc.integer({ min: 0, max: 200_000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 3_000_000 }) },
  );
  const rows = fc.oneof(
    { weight: 12, arbitrary: fc.constant(1) },
    { weight: 1, arbitrary: fc.integer({ min: 2, max: 20 }) },
  );
  const shared = fc.record({ size, rows });
  const batches = fc.array(fc.array(shared, { maxLength: 60 }), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(batches, async (keys) => {
      const { ids, largestBody, memory } = await written(keys);
      const expected = keysOf(keys).flat().flatMap(documentsOf).map(({ id }) => id);
      assert.deepEqual(ids.toSorted(), expected.toSorted());
      assert.equal(memory.documents.held, 0);
      assert.ok(largestBody <= memory.bodies.roomFor(0));
      const largest = keys.flat().reduce((most, { size }) => Math.max(most, size), 0);
      // What one key has is asked for by doubling.
      const together = keys.flat().reduce(
        (most, { size, rows }) =>
          rows === 1 ? most : Math.max(most, rows * memory.roomOfRequest(1, size + 1_000)),
        0,
      );
      const most = Math.max(memory.documents.limit, memory.roomOfRequest(1, largest + 1_000), 2 * together);
      assert.ok(memory.documents.most <= most, "no more than the share, or what one key has");
    }),
    { numRuns: 60 },
  );
});

test("a key that many rows share comes to its end, whatever its documents take together", async () => {
  const { ids, memory } = await written([[{ size: 150_000, rows: 5 }], [{ size: 100, rows: 20_000 }]]);
  assert.deepEqual([ids.length, memory.documents.held], [20_005, 0]);
});

test("one large document does not have all others built one by one", async () => {
  const rows = 1;
  const small = Array.from({ length: 49 }, () => ({ size: 100, rows }));
  for (const at of [0, 1, 30, 49]) {
    const { ids, statements } = await written([small.toSpliced(at, 0, { size: 2_000_000, rows })]);
    assert.equal(ids.length, 50);
    assert.ok(statements <= 4, `${statements} statements`);
  }
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
