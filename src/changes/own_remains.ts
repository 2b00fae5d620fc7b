import { missingRoots } from "../documents/missing_roots.ts";
import { type RootKey, splitKey } from "../documents/root_keys.ts";
import type { SourceSession } from "../documents/source_session.ts";
import { joinId } from "../mapping/id_sql.ts";
import { indexedKeys } from "./indexed_keys.ts";
import type { IndexWriter } from "../documents/index_writer.ts";
import type { ServerMoment } from "../documents/source_clock.ts";
import { BYTES_AN_ITEM, type WorkMemory } from "../documents/work_memory.ts";
import { BulkBody } from "../search/bulk_body.ts";
import type { SearchClient } from "../search/client.ts";
import { readVersions } from "../search/stored_versions.ts";
import { documentVersion } from "../search/version.ts";

const IDS_A_REQUEST = 5_000;
/** No version of ours is less, and none that the engine counts by itself comes so far. */
const LEAST_OWN_VERSION = documentVersion({ timeline: 1, lsn: 0n, fromStream: false });

/** What is used to find and remove documents without a row. */
export interface RemainsOptions {
  readonly session: SourceSession;
  readonly search: SearchClient;
  readonly memory: WorkMemory;
}

/**
 * The keys of the documents that an index holds without a root row.
 *
 * @param moment what is read holds everything before it
 * @returns page by page; those that no row can have are left out, and removed as by `removeOwnRemains`
 * @throws as `missingRoots` and `removeOwnRemains`
 */
export async function* extraRoots(
  writer: IndexWriter,
  options: RemainsOptions,
  moment: ServerMoment,
  signal: AbortSignal,
): AsyncGenerator<readonly RootKey[]> {
  const { session, search } = options;
  let impossible: string[] = [];
  const note = (key: RootKey) => void impossible.push(joinId(splitKey(key)));
  const remove = async () => {
    const ids = impossible;
    impossible = [];
    await removeOwnRemains(ids, writer, options, moment, signal);
  };
  for await (const page of missingRoots(indexedKeys(writer, search, signal), writer, session, moment, note)) {
    if (page.length > 0) yield page;
    if (impossible.length >= IDS_A_REQUEST) await remove();
  }
  await remove();
}

/**
 * Removes documents with ids that no row can have, where this program wrote them: the key's type took their values once
 * (the label of an enum was renamed, a `bigint` became an `integer`). What somebody else wrote is left alone; its version
 * tells.
 *
 * @param ids that no row can have at that moment or later, unless the tables are altered again
 * @throws PgsyncError as `IndexWriter.send`; the signal's reason
 */
export async function removeOwnRemains(
  ids: readonly string[],
  writer: IndexWriter,
  { search, memory }: Pick<RemainsOptions, "search" | "memory">,
  moment: ServerMoment,
  signal: AbortSignal,
): Promise<void> {
  for (let from = 0; from < ids.length; from += IDS_A_REQUEST) {
    const versions = await readVersions(
      search,
      writer.generation,
      ids.slice(from, from + IDS_A_REQUEST),
      signal,
    );
    const own = [...versions].filter(([, held]) => held >= LEAST_OWN_VERSION).map(([id]) => id);
    const version = documentVersion({ ...moment, fromStream: true });
    for (let done = own.length === 0; !done;) {
      const body = new BulkBody();
      for (const id of own) body.delete(id, version);
      using held = await memory.documents.acquire(body.byteLength + own.length * BYTES_AN_ITEM, signal);
      ({ done } = await writer.send(body.take(Date.now()), "stream", null, signal, () => held.release()));
    }
  }
}
