import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { type Held, MemoryShare } from "../../src/memory/share.ts";

describe("A share of the memory", () => {
  it("gives what is free, and has others wait in order of arrival", async () => {
    const share = new MemoryShare(100);
    const first = await share.acquire(60);
    const order: string[] = [];
    const large = share.acquire(50).then((held) => (order.push("large"), held));
    const small = share.acquire(10).then((held) => (order.push("small"), held));
    await turn();
    assert.deepEqual(
      [share.held, share.waiting, order],
      [60, 2, []],
      "the small one does not pass the large one",
    );
    assert.equal(share.tryAcquire(1), null, "nor does whoever does not wait");
    first.release();
    await Promise.all([large, small]);
    assert.deepEqual([share.held, share.waiting, order], [60, 0, ["large", "small"]]);
  });

  it("lets more than the whole share pass alone", async () => {
    const share = new MemoryShare(100);
    const small = await share.acquire(1);
    let alone: Held | null = null;
    const acquiring = share.acquire(1_000).then((held) => alone = held);
    await turn();
    assert.equal(alone, null);
    small.release();
    const huge = await acquiring;
    assert.equal(share.held, 1_000);
    const next = share.acquire(1);
    await turn();
    assert.equal(share.waiting, 1, "nobody beside it");
    huge.release();
    (await next).release();
    assert.deepEqual([share.held, share.most], [0, 1_000]);
  });

  it("forgets who gives up, and serves those behind", async () => {
    const share = new MemoryShare(100);
    const first = await share.acquire(60);
    const stop = new AbortController();
    const large = share.acquire(90, stop.signal);
    const small = share.acquire(30);
    stop.abort(new Error("given up"));
    await assert.rejects(large, /given up/);
    const held = await small;
    assert.equal(share.held, 90);
    await assert.rejects(share.acquire(1, stop.signal), /given up/, "an aborted signal gets nothing");
    first.release();
    held.release();
    held.release();
    held.resize(50);
    assert.equal(held.tryGrow(1), false);
    assert.equal(share.held, 0, "what was given back is not held again, nor given back twice");
  });

  it("grows what is held only where that needs no waiting", async () => {
    const share = new MemoryShare(100);
    const one = await share.acquire(40);
    const other = await share.acquire(40);
    assert.equal(one.tryGrow(21), false);
    assert.equal(one.tryGrow(20), true);
    assert.deepEqual([one.bytes, share.held], [60, 100]);
    one.resize(10);
    const waiting = share.acquire(90);
    await turn();
    assert.equal(one.tryGrow(1), false, "somebody waits");
    one.release();
    other.release();
    (await waiting).release();
    assert.equal(share.held, 0);
  });

  it("refuses what could never be given back", async () => {
    const share = new MemoryShare(100);
    using _ = share.count(1);
    for (const bytes of [NaN, Infinity, -1]) await assert.rejects(share.acquire(bytes), RangeError);
    assert.deepEqual([share.held, share.waiting], [1, 0]);
  });

  it("counts what cannot wait, also beyond the limit, and gives nothing meanwhile", async () => {
    const share = new MemoryShare(100);
    using counted = share.count(0);
    counted.resize(130);
    const waiting = share.acquire(10);
    await turn();
    assert.equal(share.waiting, 1);
    counted.resize(90);
    (await waiting).release();
    assert.equal(share.held, 90);
  });

  it("is never exceeded but by one that is larger, is given back by all, and leaves nobody waiting", async () => {
    const step = fc.record({
      bytes: fc.integer({ min: 1, max: 150 }),
      turns: fc.integer({ min: 0, max: 5 }),
      aborted: fc.integer({ min: 0, max: 9 }).map((at) => at === 0),
      grows: fc.integer({ min: 0, max: 40 }),
      fails: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
        const holders = new Set<Held>();
        const exceeded: string[] = [];
        const look = () => {
          const bytes = [...holders].map((held) => held.bytes);
          const sum = bytes.reduce((total, each) => total + each, 0);
          if (sum > 100 && bytes.length > 1) exceeded.push(bytes.join(" + "));
        };
        const share = new MemoryShare(100, look);
        const granted: number[] = [];
        const work = async ({ bytes, turns, aborted, grows, fails }: typeof steps[number], at: number) => {
          const stop = new AbortController();
          const acquiring = share.acquire(bytes, stop.signal);
          if (aborted) stop.abort(new Error("stopped"));
          using held = await acquiring;
          granted.push(at);
          holders.add(held);
          look();
          try {
            if (grows > 0) held.tryGrow(grows);
            for (let turned = 0; turned < turns; turned++) await turn();
            if (fails) throw new Error("failed");
          } finally {
            holders.delete(held);
          }
        };
        await Promise.allSettled(steps.map(work));
        assert.deepEqual([share.held, share.waiting, exceeded], [0, 0, []]);
        assert.deepEqual(granted, granted.toSorted((a, b) => a - b), "in order of arrival");
        const served = steps.filter(({ aborted }) => !aborted).length;
        assert.ok(granted.length >= served, "nobody starves");
      }),
    );
  });
});
