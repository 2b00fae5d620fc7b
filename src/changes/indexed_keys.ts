import type { IndexWriter } from "../documents/index_writer.ts";
import { joinKey, type RootKey } from "../documents/root_keys.ts";
import { splitId } from "../mapping/id_sql.ts";
import type { MappedDocument } from "../mapping/tree.ts";
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

/** The root keys of ids. One that is no key of ours was written by somebody else, and is left out. */
export function keysOf(ids: readonly string[], { key }: MappedDocument): RootKey[] {
  return ids.flatMap((id) => {
    const values = splitId(id, key.length);
    return values === null ? [] : [joinKey(values)];
  });
}
