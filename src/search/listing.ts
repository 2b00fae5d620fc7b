import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import type { SearchClient } from "./client.ts";
import type { SearchResponse } from "./response.ts";
import { quoteVersions } from "./stored_versions.ts";

/** How many ids one page of a listing holds. */
const LIST_BATCH = 5_000;

/** What of a page is wanted: by default each hit repeats the name of its index, and more. */
const PAGE_FILTER = "_scroll_id,timed_out,_shards.failed,hits.hits._id,hits.hits._version,error,status";

const pageSchema = z.object({
  _scroll_id: z.string().optional(),
  timed_out: z.boolean(),
  _shards: z.object({ failed: z.number() }),
  // The filter leaves out what is empty: the last page has no hits at all.
  hits: z.object({ hits: z.array(z.object({ _id: z.string(), _version: z.string().optional() })) })
    .default({ hits: [] }),
});

/** A document of a listing. */
export interface ListedDocument {
  readonly id: string;
  /** Null where versions were not asked for. */
  readonly version: bigint | null;
}

/** Which documents are listed, and how. */
export interface Listing {
  /** With their versions. */
  readonly versions?: boolean;
  /** In random order. */
  readonly random?: boolean;
}

/**
 * Lists the id of every document that searches see, as of the moment of the first step: up to 5,000 ids a step. The next
 * step must be asked for within five minutes.
 *
 * @throws PgsyncError SEARCH_UNAVAILABLE where a part of the index did not answer or the listing took too long; others
 *   of the search engine
 */
export async function* listIds(
  client: SearchClient,
  index: string,
  signal?: AbortSignal,
): AsyncGenerator<readonly string[]> {
  for await (const page of listDocuments(client, index, {}, signal)) yield page.map(({ id }) => id);
}

/** As `listIds`, with what the listing asks for. @throws as `listIds` */
export async function* listDocuments(
  client: SearchClient,
  index: string,
  listing: Listing,
  signal?: AbortSignal,
): AsyncGenerator<readonly ListedDocument[]> {
  const doing = `list the documents of "${index}"`;
  const first = await client.request({
    method: "POST",
    path: `/${encodeURIComponent(index)}/_search`,
    query: { scroll: "5m", allow_partial_search_results: false, filter_path: PAGE_FILTER },
    body: {
      size: LIST_BATCH,
      _source: false,
      version: listing.versions === true,
      ...(listing.random === true
        ? { query: { function_score: { query: { match_all: {} }, random_score: {} } } }
        : { sort: ["_doc"] }),
    },
    doing,
    signal,
  });
  let page = readPage(first, listing);
  try {
    while (page.hits.hits.length > 0) {
      // A missing page would look like missing documents.
      if (page.timed_out || page._shards.failed > 0) {
        throw new PgsyncError("SEARCH_UNAVAILABLE", `The search engine could ${doing} only in part.`);
      }
      yield page.hits.hits.map(({ _id, _version }) => ({
        id: _id,
        version: _version === undefined ? null : BigInt(_version),
      }));
      signal?.throwIfAborted();
      const next = await client.request({
        method: "POST",
        path: "/_search/scroll",
        query: { filter_path: PAGE_FILTER },
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
      page = readPage(next, listing);
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

function readPage(response: SearchResponse, listing: Listing): z.infer<typeof pageSchema> {
  if (listing.versions !== true) return response.read(pageSchema);
  response.expectOk();
  return response.withText(quoteVersions(response.text)).read(pageSchema);
}
