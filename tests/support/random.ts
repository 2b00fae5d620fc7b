/** Choices that are the same for the same seed. */

/** A source of numbers that are the same for the same seed. */
export interface Random {
  readonly seed: number;
  /** A whole number from 0 to below `limit`. */
  below(limit: number): number;
}

/** `seed` from PGSYNC_TEST_SEED repeats a run as far as the machine's timing allows. */
export function seededRandom(seed: number): Random {
  // mulberry32: 32 bits of state, good enough to choose rows and moments
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6D2B79F5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return { seed, below: (limit) => next() % limit };
}

/** True in `percent` of a hundred. */
export function chance(random: Random, percent: number): boolean {
  return random.below(100) < percent;
}

/** A whole number, both ends included. */
export function between(random: Random, from: number, to: number): number {
  return from + random.below(to - from + 1);
}

/** @throws RangeError where the list is empty */
export function pick<Item>(random: Random, list: readonly Item[]): Item {
  const place = random.below(Math.max(list.length, 1));
  if (place >= list.length) throw new RangeError("nothing to choose from");
  // The place is one of the list's, whose items may be undefined themselves.
  return list[place] as Item;
}

/** The same items in another order. */
export function shuffled<Item>(random: Random, list: readonly Item[]): Item[] {
  const rest = [...list];
  const result: Item[] = [];
  while (rest.length > 0) result.push(...rest.splice(random.below(rest.length), 1));
  return result;
}

/** `count` of the items (all, where there are fewer), in any order. */
export function some<Item>(random: Random, list: readonly Item[], count: number): Item[] {
  return shuffled(random, list).slice(0, count);
}
