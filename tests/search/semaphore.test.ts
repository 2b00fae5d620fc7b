import assert from "node:assert/strict";
import { test } from "node:test";
import { Semaphore } from "../../src/search/semaphore.ts";

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

test("no more than the permitted number run at once, in order of arrival", async () => {
  const semaphore = new Semaphore(2);
  const order: number[] = [];
  let running = 0;
  await Promise.all([0, 1, 2, 3, 4].map(async (n) => {
    const end = await semaphore.acquire();
    order.push(n);
    assert.ok(++running <= 2);
    await settle();
    running--;
    end();
    end();
  }));
  assert.deepEqual(order, [0, 1, 2, 3, 4]);
  assert.equal(semaphore.running, 0);
});

test("an aborted wait gives its place to the next", async () => {
  const semaphore = new Semaphore(1);
  const end = await semaphore.acquire();
  const control = new AbortController();
  const aborted = semaphore.acquire(control.signal);
  const next = semaphore.acquire();
  control.abort(new Error("stop"));
  await assert.rejects(aborted, /stop/);
  end();
  (await next)();
  assert.equal(semaphore.running, 0);
  await assert.rejects(semaphore.acquire(control.signal), /stop/);
  assert.throws(() => new Semaphore(0), RangeError);
});
