import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import type { SearchClient } from "./client.ts";

/** How many ids one page of a listing holds. */
const LIST_BATCH = 5_000;

const pageSchema = z.object({
  _scroll_id: z.string().optional(),
  timed_out: z.boolean(),
  _shards: z.object({ failed: z.number() }),
  hits: z.object({ hits: z.array(z.object({ _id: z.string() })) }),
});

/**
 * Lists the id of every document that searches see, as of the moment of the first step, in no particular order: up to
 * 5,000 ids a step. The next step must be asked for within five minutes.
 *
 * @throws PgsyncError SEARCH_UNAVAILABLE where a part of the index did not answer or the listing took too long; others
 *   of the search engine
 */
export async function* listIds(
  client: SearchClient,
  index: string,
  signal?: AbortSignal,
): AsyncGenerator<readonly string[]> {
  const doing = `list the documents of "${index}"`;
  const first = await client.request({
    method: "POST",
    path: `/${encodeURIComponent(index)}/_search`,
    query: { scroll: "5m", allow_partial_search_results: false },
    body: { size: LIST_BATCH, sort: ["_doc"], _source: false },
    doing,
    signal,
  });
  let page = first.read(pageSchema);
  try {
    while (page.hits.hits.length > 0) {
      // A missing page would look like missing documents.
      if (page.timed_out || page._shards.failed > 0) {
        throw new PgsyncError("SEARCH_UNAVAILABLE", `The search engine could ${doing} only in part.`);
      }
      yield page.hits.hits.map((hit) => hit._id);
      signal?.throwIfAborted();
      const next = await client.request({
        method: "POST",
        path: "/_search/scroll",
        body: { scroll: "5m", scroll_id: page._scroll_id },
        doing,
        // Sent twice, it would leave out a page.
        singleAttempt: true,
        signal,
      });
      if (next.status === 404) {
        throw new PgsyncError(
          "SEARCH_UNAVAILABLE",
          `The search engine gave up the search that was to ${doing}.`,
        );
      }
      page = next.read(pageSchema);
    }
  } finally {
    // The engine would close it by itself after five minutes: whether this succeeds does not matter.
    await client.request({
      method: "DELETE",
      path: "/_search/scroll",
      body: { scroll_id: page._scroll_id },
      doing: "end a search",
      timeoutSeconds: 5,
    }).catch(() => undefined);
  }
}
