/** Random numbers that are the same on every machine and in every run. */

/** A stream of random choices. */
export interface Random {
  /** A whole number from `low` to `high`, both included. */
  whole(low: number, high: number): number;
  /** One of the items. */
  pick<T>(items: readonly T[]): T;
  /** True with this probability. */
  chance(probability: number): boolean;
}

/**
 * The stream that belongs to a name and a number, for example `("book", 17)`; independent of all others, so that rows can be
 * made in any order.
 */
export function randomOf(name: string, index: number): Random {
  let state = index;
  for (let i = 0; i < name.length; i++) {
    state = Math.imul(state ^ name.charCodeAt(i), 0x5bd1e995) + 0x9e3779b9 | 0;
  }
  // splitmix32: an additive counter through a mixing function.
  const next = (): number => {
    state = state + 0x9e3779b9 | 0;
    let mixed = state ^ state >>> 16;
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return ((mixed ^ mixed >>> 15) >>> 0) / 0x100000000;
  };
  return {
    whole: (low, high) => low + Math.floor(next() * (high - low + 1)),
    pick(items) {
      const item = items[Math.floor(next() * items.length)];
      if (item === undefined) throw new RangeError("there is nothing to pick from");
      return item;
    },
    chance: (probability) => next() < probability,
  };
}
