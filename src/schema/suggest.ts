/**
 * The number of single-character edits (insert, delete, replace, swap of neighbours) that turn one word into
 * the other: the optimal string alignment distance.
 */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(best);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}

/**
 * Finds the word that was probably meant. Letter case and the choice of `-`, `_` or blank do not count; of
 * longer words up to a third of the letters may differ, so that a short word does not suggest any other.
 *
 * @param word what was written
 * @param allowed what may be written
 * @returns the nearest allowed word, or null where none is near
 */
export function nearest(word: string, allowed: Iterable<string>): string | null {
  const wanted = normalise(word);
  let best: string | null = null;
  let bestDistance = Infinity;
  for (const candidate of allowed) {
    const limit = Math.min(3, Math.floor(Math.max(candidate.length, 3) / 3));
    if (Math.abs(candidate.length - wanted.length) > limit) continue;
    const edits = editDistance(wanted, normalise(candidate));
    // Between equals the one with the same first letter: "lable" is label rather than table.
    const distance = edits + (candidate[0] === wanted[0] ? 0 : 0.5);
    if (edits <= limit && distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** The sentence part `; did you mean "x"?`, or nothing where no allowed word is near. */
export function didYouMean(word: string, allowed: Iterable<string>): string {
  const suggestion = nearest(word, allowed);
  return suggestion === null ? "" : `; did you mean "${suggestion}"?`;
}

function normalise(word: string): string {
  return word.toLowerCase().replace(/[- ]/g, "_");
}
