import type { IndexWriter } from "../documents/index_writer.ts";
import type { ServerMoment } from "../documents/source_clock.ts";
import { BulkBody } from "../search/bulk_body.ts";
import type { SearchClient } from "../search/client.ts";
import { readVersions } from "../search/stored_versions.ts";
import { documentVersion } from "../search/version.ts";

/** No version of ours is less, and none that the engine counts by itself comes so far. */
const LEAST_OWN_VERSION = documentVersion({ timeline: 1, lsn: 0n, fromStream: false });

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
  search: SearchClient,
  moment: ServerMoment,
  signal: AbortSignal,
): Promise<void> {
  if (ids.length === 0) return;
  const versions = await readVersions(search, writer.generation, ids, signal);
  const version = documentVersion({ ...moment, fromStream: true });
  for (let done = false; !done;) {
    const body = new BulkBody();
    for (const [id, held] of versions) if (held >= LEAST_OWN_VERSION) body.delete(id, version);
    if (body.count === 0) return;
    done = await writer.send(body.take(Date.now()), "stream", null, signal);
  }
}
