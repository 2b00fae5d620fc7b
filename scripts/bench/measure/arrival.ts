/** When a change has arrived in an index, seen from outside: the same way for all candidates. */
import { setTimeout as delay } from "node:timers/promises";
import type { Search } from "../search.ts";

/** Documents of an index that a change makes look otherwise. */
export interface Expected {
  readonly index: string;
  /** Finds them once they do; none of them before. */
  readonly query: object;
  readonly documents: number;
}

/** Waits for what it was told. */
export interface Arrival {
  /** @returns the moment, by `performance.now()` @throws Error where it does not come in time */
  wait(): Promise<number>;
}

const GIVE_UP_AFTER_MS = 2 * 60 * 60_000;
/** Between two looks: a fiftieth of the time that has passed, so that looking costs little and is never late by more. */
const SHARE = 1 / 50;
const LEAST_PAUSE_MS = 2;
const MOST_PAUSE_MS = 250;

/**
 * Notes what the indices have seen so far; to be called before the change. A document counts when the index has written it; that each is
 * there and looks as it should is asked afterwards, since that costs a refresh.
 */
export async function arrivalOf(search: Search, expected: readonly Expected[]): Promise<Arrival> {
  const before = await Promise.all(expected.map(({ index }) => search.written(index)));
  return {
    async wait() {
      const started = performance.now();
      const pending = expected.map((each, place) => ({
        ...each,
        due: (before[place] ?? 0) + each.documents,
      }));
      for (;;) {
        const written = await Promise.all(pending.map(({ index }) => search.written(index)));
        const now = performance.now();
        if (pending.every(({ due }, place) => (written[place] ?? 0) >= due)) {
          const counts = await Promise.all(pending.map(({ index, query }) => search.count(index, query)));
          if (pending.every(({ documents }, place) => counts[place] === documents)) return now;
          // Some were written twice, or the probe of somebody: the rest is still to come.
          for (const [place, each] of pending.entries()) {
            each.due = (written[place] ?? 0) + Math.max(1, each.documents - (counts[place] ?? 0));
            if (counts[place] === each.documents) each.due = 0;
          }
        }
        if (now - started > GIVE_UP_AFTER_MS) throw new Error("a change did not arrive in time");
        await delay(Math.min(MOST_PAUSE_MS, Math.max(LEAST_PAUSE_MS, (now - started) * SHARE)));
      }
    },
  };
}
