import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { changeSources } from "../../src/mapping/change_sources.ts";
import type { BatchTimes } from "../../src/changes/batch_processor.ts";
import type { ChangeBatch } from "../../src/changes/change_batch.ts";
import { ChangePipeline } from "../../src/changes/change_pipeline.ts";
import { MemoryShare } from "../../src/memory/share.ts";
import { BOOKS, mapped } from "../sync/shop.ts";

const [source = assert.fail()] = changeSources(mapped(BOOKS));
const TIMES: BatchTimes = {
  documents: 0,
  visibilitySeconds: 0,
  impactSeconds: 0,
  buildSeconds: 0,
  bulkSeconds: 0,
};

/** A pipeline whose batches end when the test says so. */
function controlled(waitingBytes = 1_000_000) {
  const started: { batch: ChangeBatch; finish: () => void; fail: (error: unknown) => void }[] = [];
  const positions: bigint[] = [];
  const failures: unknown[] = [];
  const held: boolean[] = [];
  const memory = new MemoryShare(1_000_000);
  const pipeline = new ChangePipeline({
    processor: {
      process: (batch) =>
        new Promise((resolve, reject) => started.push({ batch, finish: () => resolve(TIMES), fail: reject })),
    },
    memory,
    // A third for each of three batches, and half of that, for their sets may double.
    batchBytes: 6 * waitingBytes,
    holdBack: (paused) => held.push(paused),
    onPosition: (position) => positions.push(position),
    onFailure: (error) => failures.push(error),
    observe: () => {},
    signal: new AbortController().signal,
  });
  let next = 0n;
  const change = () => {
    pipeline.collecting.add(source, [String(++next)], 1);
    pipeline.changed();
  };
  const commit = () => {
    pipeline.collecting.position = ++next;
    pipeline.changed();
    return next;
  };
  return { pipeline, memory, started, positions, failures, held, change, commit };
}

describe("The pipeline", () => {
  it("starts a batch at once when idle, and collects while two are under way", async () => {
    const { pipeline, started, change, commit } = controlled();
    for (let round = 0; round < 5; round++) {
      change();
      commit();
      await turn();
    }
    assert.equal(started.length, 2);
    started[1]?.finish();
    await turn();
    assert.equal(started.length, 3);
    assert.equal(
      [...started[2]?.batch.values.values() ?? []][0]?.size,
      3,
      "what came meanwhile goes together",
    );
    assert.equal(pipeline.isIdle, false);
  });

  it("has documents written again by a batch of all changes, and tells when that is done", async () => {
    const { pipeline, started, change } = controlled();
    let done = 0;
    pipeline.rewrite(source.document, ["1"], () => done++);
    change();
    await turn();
    assert.deepEqual(started.map(({ batch }) => [batch.keys.size, batch.values.size]), [[1, 1]]);
    pipeline.rewrite(source.document, ["2"], () => done++);
    assert.equal(done, 0);
    started[0]?.finish();
    await turn();
    assert.equal(done, 1);
    await turn();
    started[1]?.finish();
    await turn();
    assert.deepEqual([done, pipeline.isIdle], [2, true]);
  });

  it("moves the position over a batch when all before it are done", async () => {
    const { started, positions, change, commit } = controlled();
    change();
    const first = commit();
    await turn();
    change();
    const second = commit();
    await turn();
    started[1]?.finish();
    await turn();
    assert.deepEqual(positions, []);
    started[0]?.finish();
    await turn();
    assert.deepEqual(positions, [second]);
    assert.ok(first < second);
  });

  it("passes a position on at once when nothing is under way, and not before what is", async () => {
    const { started, positions, change, commit } = controlled();
    const alone = commit();
    await turn();
    assert.deepEqual(positions, [alone]);
    change();
    await turn();
    const later = commit();
    await turn();
    assert.deepEqual(positions, [alone]);
    started[0]?.finish();
    await turn();
    assert.deepEqual(positions, [alone, later]);
  });

  it("does not move the position for a batch that ended within a transaction", async () => {
    const { started, positions, change, commit } = controlled();
    change();
    await turn();
    change();
    const end = commit();
    await turn();
    started[0]?.finish();
    await turn();
    assert.deepEqual(positions, []);
    started[1]?.finish();
    await turn();
    assert.deepEqual(positions, [end]);
  });

  it("holds the stream back while too much waits", async () => {
    const { started, held, change } = controlled(200);
    change();
    await turn();
    change();
    await turn();
    for (let i = 0; i < 10; i++) change();
    assert.deepEqual(held, [true]);
    started[0]?.finish();
    await turn();
    assert.deepEqual(held, [true, false]);
  });

  it("counts what its batches take until they are done or have failed, and gives the rest back at the end", async () => {
    const { pipeline, memory, started, change, commit } = controlled();
    const compare = () => {
      pipeline.collecting.addAll(source.document, 1);
      pipeline.changed();
    };
    const bytes = () =>
      new Set([...started.map(({ batch }) => batch), pipeline.collecting])
        .values().reduce((sum, batch) => sum + batch.bytes, 0);
    change();
    await turn();
    change();
    await turn();
    for (let i = 0; i < 100; i++) change();
    assert.equal(started.length, 2);
    assert.equal(memory.held, bytes());
    const [first = assert.fail()] = started.splice(0, 1);
    first.finish();
    await turn();
    assert.equal(memory.held, bytes(), "the third has begun, and the first is forgotten");
    for (const { finish } of started.splice(0)) finish();
    await turn();
    assert.equal(memory.held, 0);

    compare();
    await turn();
    compare();
    change();
    commit();
    await turn();
    assert.equal(started.length, 2, "the look-up has gone ahead of the second comparison");
    assert.equal(memory.held, bytes());
    for (const { fail } of started.splice(0)) fail("broken");
    await turn();
    assert.equal(memory.held, pipeline.collecting.bytes);
    assert.ok(memory.held > 0);
    pipeline.close();
    assert.equal(memory.held, 0);
  });

  it("lets look-ups go ahead while one comparison is under way and the next one waits", async () => {
    const { pipeline, started, positions, change, commit } = controlled();
    const compare = (transaction: number) => {
      pipeline.collecting.addAll(source.document, transaction);
      pipeline.changed();
    };
    compare(7);
    const first = commit();
    await turn();
    compare(8);
    change();
    const second = commit();
    await turn();
    assert.deepEqual(started.map(({ batch }) => [batch.reconcile.size, batch.values.size]), [[1, 0], [0, 1]]);
    assert.ok(started[1]?.batch.transactions.has(7), "it waits for what the comparison waits to see");
    started[1]?.finish();
    await turn();
    change();
    commit();
    await turn();
    assert.equal(started.length, 3, "and so do later ones");
    assert.deepEqual(positions, [], "a position does not move before the comparisons of all before it");
    started[0]?.finish();
    await turn();
    assert.equal(started.length, 3, "the next comparison begins alone");
    assert.deepEqual(positions, [first]);
    started[2]?.finish();
    await turn();
    assert.deepEqual(started.map(({ batch }) => batch.reconcile.size), [1, 0, 0, 1]);
    assert.ok((started[3]?.batch.position ?? 0n) > second);
    started[3]?.finish();
    await turn();
    assert.equal(pipeline.isIdle, true);
    assert.equal(positions.length, 2);
  });

  it("forgets the transactions of look-ups that have gone ahead, however long a comparison lasts", async () => {
    const { pipeline, memory, started, held } = controlled(4_000);
    const compare = () => {
      pipeline.collecting.addAll(source.document, 1);
      pipeline.changed();
    };
    let transaction = 1;
    /** Many transactions that change the same row. */
    const change = (count: number) => {
      for (let at = 0; at < count; at++) {
        pipeline.collecting.add(source, ["1"], ++transaction);
        pipeline.changed();
      }
    };
    compare();
    await turn();
    compare();
    for (let round = 0; round < 2_000; round++) {
      change(50);
      await turn();
      assert.equal(started.length, 2, "the look-up has gone ahead");
      assert.ok(pipeline.collecting.bytes < 4_000);
      started.pop()?.finish();
      await turn();
      assert.equal(pipeline.collecting.transactions.size, 0);
    }
    assert.deepEqual(held, []);
    const before = memory.held;
    change(500);
    await turn();
    assert.deepEqual(held, [true], "what has gone ahead has still to be waited for, too");
    assert.equal(started.length, 2);
    started.pop()?.finish();
    await turn();
    assert.deepEqual([held, memory.held], [[true, false], before]);
  });

  it("begins a comparison of the whole index only when nothing is on its way to it", async () => {
    const { pipeline, started, change } = controlled();
    change();
    await turn();
    pipeline.collecting.addAll(source.document, 1);
    pipeline.changed();
    await turn();
    assert.equal(started.length, 1);
    started[0]?.finish();
    await turn();
    assert.deepEqual(started.map(({ batch }) => batch.reconcile.size), [0, 1]);
    // What comes later is built from the tables as they are then, so it need not wait.
    change();
    await turn();
    assert.equal(started.length, 3);
  });

  it("stops for good when a batch fails, and moves the position no further", async () => {
    const { started, positions, failures, change, commit } = controlled();
    change();
    commit();
    await turn();
    change();
    commit();
    await turn();
    started[0]?.fail("broken");
    await turn();
    started[1]?.finish();
    change();
    commit();
    await turn();
    assert.deepEqual([failures, positions, started.length], [["broken"], [], 2]);
  });

  it("gives growing positions, each after all changes before it, in whatever order batches end", async () => {
    const steps = fc.array(fc.oneof(fc.constant("change"), fc.constant("commit"), fc.nat(1)), {
      maxLength: 60,
    });
    await fc.assert(fc.asyncProperty(steps, async (plan) => {
      const { pipeline, started, positions, change, commit } = controlled();
      const open = () => started.filter(({ batch }) => !done.has(batch));
      const done = new Set<ChangeBatch>();
      const finish = async (which: number) => {
        const entry = open()[which % Math.max(1, open().length)];
        if (entry === undefined) return;
        done.add(entry.batch);
        entry.finish();
        await turn();
        await turn();
      };
      let last = 0n;
      for (const step of plan) {
        if (step === "change") change();
        else if (step === "commit") last = commit();
        else await finish(step);
        await turn();
        const position = positions.at(-1) ?? 0n;
        for (const { batch } of open()) {
          for (const values of batch.values.values()) {
            for (const value of values) {
              assert.ok(BigInt(value) > position, "a change under way lies behind it");
            }
          }
        }
      }
      while (open().length > 0) await finish(0);
      await pipeline.drain();
      assert.deepEqual(positions, positions.toSorted((a, b) => a < b ? -1 : 1));
      assert.equal(positions.at(-1) ?? 0n, last);
    }));
  });
});
