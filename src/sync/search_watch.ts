import { type PgsyncError, toPgsyncError } from "../errors/error.ts";
import { delayOrAbort } from "../retry/backoff.ts";
import type { SearchClient } from "../search/client.ts";

/** How often the search engine is asked for any answer. */
const SEARCH_LOOK_MS = 5_000;
/** What has not answered by then is frozen, or behind a network that swallows packets. */
const ANSWER_WITHIN_SECONDS = 10;

/**
 * Asks the search engine for any answer now and then, until the signal: while nothing changes, nothing else would notice that it is
 * away; and a bulk request waits for a minute before it is given up.
 *
 * @param onSilence told of each look that gets no answer, or one that means overload or outage
 */
export async function watchSearch(
  search: SearchClient,
  onAnswer: () => void,
  onSilence: (fault: PgsyncError) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await delayOrAbort(SEARCH_LOOK_MS, signal);
    if (signal.aborted) return;
    try {
      await search.ping(signal, ANSWER_WITHIN_SECONDS);
      onAnswer();
    } catch (thrown) {
      if (signal.aborted) return;
      onSilence(toPgsyncError(thrown));
    }
  }
}
