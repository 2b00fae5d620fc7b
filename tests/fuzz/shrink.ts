/**
 * Delta debugging (A. Zeller, R. Hildebrandt: Simplifying and Isolating Failure-Inducing Input, 2002): what can be left out of a
 * list so that it still fails?
 */

/**
 * Leaves out as much as it can: first halves, then smaller parts, at last single items. The result still fails, and no
 * single item of it can go (unless `goOn` ended it).
 *
 * @param items a list that fails
 * @param fails whether a shorter list still does
 * @param goOn false ends the search with what is found by then
 */
export async function shrinkList<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => Promise<boolean>,
  goOn: () => boolean = () => true,
): Promise<readonly T[]> {
  let kept = items;
  let size = Math.ceil(kept.length / 2);
  while (kept.length > 0 && goOn()) {
    let shorter = false;
    // From the end: what came last is most often of no consequence.
    for (let to = kept.length; to > 0 && goOn(); to -= size) {
      const from = Math.max(0, to - size);
      const candidate = [...kept.slice(0, from), ...kept.slice(to)];
      if (!(await fails(candidate))) continue;
      kept = candidate;
      shorter = true;
    }
    if (size > 1) size = Math.ceil(size / 2);
    else if (!shorter) break;
  }
  return kept;
}
