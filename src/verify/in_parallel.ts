/**
 * Works on items several at once and gives the results as they come, in no particular order. What is under way when the
 * caller stops is told to stop by the signal, and waited for.
 *
 * @param workers how many are worked on at once
 * @throws what `work` or the items throw; the signal's reason
 */
export async function* inParallel<Item, Result>(
  items: AsyncIterable<Item> | Iterable<Item>,
  workers: number,
  work: (item: Item, signal: AbortSignal) => Promise<Result>,
  signal: AbortSignal,
): AsyncGenerator<Result> {
  const stopped = new AbortController();
  const either = AbortSignal.any([signal, stopped.signal]);
  const running = new Set<Promise<{ readonly done: Promise<unknown>; readonly result: Result }>>();
  const start = (item: Item) => {
    const working: Promise<{ readonly done: Promise<unknown>; readonly result: Result }> = work(item, either)
      .then((result) => ({ done: working, result }));
    // Whoever waits for it hears of a failure; until then it must not count as unheard.
    working.catch(() => {});
    running.add(working);
  };
  const finish = async () => {
    const { done, result } = await Promise.race(running);
    for (const each of running) if (each === done) running.delete(each);
    return result;
  };
  try {
    for await (const item of items) {
      signal.throwIfAborted();
      start(item);
      while (running.size >= workers) yield await finish();
    }
    while (running.size > 0) yield await finish();
  } finally {
    stopped.abort();
    await Promise.allSettled(running);
  }
}
