import type { IndexWriter } from "../documents/index_writer.ts";
import { keysOf, type RootKey } from "../documents/root_keys.ts";
import type { SearchClient } from "../search/client.ts";
import { refresh } from "../search/refresh.ts";
import { listIds } from "../search/listing.ts";

/**
 * The root keys of all documents that the index holds.
 *
 * @throws PgsyncError of the search engine; the signal's reason
 */
export async function* indexedKeys(
  writer: IndexWriter,
  search: SearchClient,
  signal: AbortSignal,
): AsyncGenerator<readonly RootKey[]> {
  await refresh(search, writer.generation, signal);
  for await (const ids of listIds(search, writer.generation, signal)) yield keysOf(ids, writer.mapped);
}
