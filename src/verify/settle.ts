import type { Comparison, Difference } from "./comparison.ts";

/** How often a document that keeps changing is looked at. */
const MOST_ROUNDS = 8;

/** What became of documents that seemed to differ. */
export interface Settled {
  /** They differ, and nothing that is on its way mends them. */
  readonly differences: readonly Difference[];
  /** Ids of documents that were rewritten whenever they were looked at. */
  readonly unsettled: readonly string[];
}

/**
 * Tells documents that are wrong from those that are only not written yet, beside a sync of another process.
 *
 * A document is looked at (first in the index, then in PostgreSQL), the stream passes the present position, and it is
 * looked at again. Where the index still holds the same version, then, no change that PostgreSQL showed at the first look
 * was missing in it: a change is carried out, with a newer version, before the stream passes it. So what differed
 * at the first look was wrong. Where the version is another, the document was built anew meanwhile, and the second look counts as the
 * first of another round.
 *
 * A missing document has no version; there the root row tells. If it is the same version of the row at both looks, the row was there
 * all the time, and so must the document have been once the stream had passed.
 *
 * @param ids of documents that seemed to differ
 * @param passPresent waits until the stream has passed all that can be seen now; null where nothing streams: then the
 *   present state decides
 * @throws PgsyncError of PostgreSQL or the search engine; the signal's reason
 */
export async function settle(
  ids: readonly string[],
  comparison: Pick<Comparison, "ids">,
  passPresent: ((signal: AbortSignal) => Promise<void>) | null,
  signal: AbortSignal,
): Promise<Settled> {
  let seen = await comparison.ids(ids, signal);
  if (passPresent === null) return { differences: seen, unsettled: [] };
  const differences: Difference[] = [];
  for (let round = 0; round < MOST_ROUNDS && seen.length > 0; round++) {
    await passPresent(signal);
    const before = new Map(seen.map((difference) => [difference.id, difference]));
    const now = await comparison.ids([...before.keys()], signal);
    differences.push(...now.filter((difference) => isSame(before.get(difference.id), difference)));
    seen = now.filter((difference) => !isSame(before.get(difference.id), difference));
  }
  return { differences, unsettled: seen.map(({ id }) => id) };
}

/** Whether nothing has happened to a document between two looks. */
function isSame(before: Difference | undefined, now: Difference): boolean {
  if (before?.kind !== now.kind) return false;
  switch (now.kind) {
    case "missing":
      return before.mark === now.mark;
    case "extra":
    case "different":
      return before.version === now.version;
    case "unmakeable":
      return true;
  }
}
