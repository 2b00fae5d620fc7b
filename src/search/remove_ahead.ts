import { PgsyncError } from "../errors/error.ts";
import { delay } from "../retry/backoff.ts";
import type { JsonObject } from "../schema/tree.ts";
import { BulkBody } from "./bulk_body.ts";
import { BulkWriter } from "./bulk_writer.ts";
import type { SearchClient } from "./client.ts";
import { DELETES_KNOWN_FOR, indexLevel } from "./index.ts";
import { listDocuments } from "./listing.ts";
import { refresh } from "./refresh.ts";
import { Semaphore } from "./semaphore.ts";

/** The engine reads its clock every 200 ms; what was deleted this long ago is old by it. */
const CLOCK_STEPS_MS = 1_000;

/**
 * Removes the documents whose versions are greater than what a server can have given by now, and has the engine forget the versions of those
 * that were deleted: they were written from a history that the server has lost, and would take no document any more that is
 * built from the present one. Nobody else may write to the index meanwhile.
 *
 * @param newest the greatest version that a document can rightly have
 * @param settings of the schema file, with or without the level `index`
 * @returns how many were removed
 * @throws PgsyncError of the search engine; the signal's reason
 */
export async function removeAhead(
  client: SearchClient,
  generation: string,
  newest: bigint,
  settings: JsonObject | null,
  signal: AbortSignal,
): Promise<number> {
  await keepDeletions(client, generation, "0ms", signal);
  let removed = 0;
  try {
    await refresh(client, generation, signal);
    const writer = new BulkWriter({ client, generation, semaphore: new Semaphore(1) });
    for await (const page of listDocuments(client, generation, { versions: true }, signal)) {
      const body = new BulkBody();
      for (const { id, version } of page) if (version !== null && version > newest) body.delete(id, version);
      if (body.count === 0) continue;
      const outcome = await writer.send(body.take(Date.now()), signal);
      if (outcome.stale || outcome.conflicts.length > 0) {
        throw new PgsyncError(
          "SEARCH_UNAVAILABLE",
          `Documents of "${generation}" could not be removed now: somebody writes to it, or it is overloaded.`,
        );
      }
      removed += outcome.deleted;
    }
    await delay(CLOCK_STEPS_MS, signal);
    // What is old enough is forgotten with a refresh.
    await refresh(client, generation, signal);
  } finally {
    const { gc_deletes: wanted = DELETES_KNOWN_FOR } = indexLevel(settings);
    // Not by the signal: it must not stay so.
    await keepDeletions(client, generation, String(wanted));
  }
  return removed;
}

/** How long the versions of deleted documents are known. @throws PgsyncError of the search engine */
async function keepDeletions(
  client: SearchClient,
  generation: string,
  time: string,
  signal?: AbortSignal,
): Promise<void> {
  const response = await client.request({
    method: "PUT",
    path: `/${encodeURIComponent(generation)}/_settings`,
    body: { index: { gc_deletes: time } },
    doing: `change index.gc_deletes of "${generation}"`,
    signal,
  });
  response.expectOk();
}
