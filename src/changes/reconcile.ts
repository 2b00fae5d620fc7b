import { cursorKeys } from "../documents/cursor_keys.ts";
import type { IndexWriter } from "../documents/index_writer.ts";
import { keysOf, type RootKey } from "../documents/root_keys.ts";
import type { ServerMoment } from "../documents/source_clock.ts";
import type { SourceSession } from "../documents/source_session.ts";
import type { WorkMemory } from "../documents/work_memory.ts";
import { allKeysSql } from "../mapping/document_sql.ts";
import type { OnFault } from "../retry/patience.ts";
import type { SearchClient } from "../search/client.ts";
import { differences, holdsContents } from "../verify/differences.ts";
import { extraRoots, removeOwnRemains } from "./own_remains.ts";

/** What a reconcile works with. */
export interface ReconcileOptions {
  readonly session: SourceSession;
  readonly search: SearchClient;
  readonly memory: WorkMemory;
  /** Chunks of a table that are compared at once. */
  readonly workers: number;
  /** Rows of a chunk, about. */
  readonly chunkRows: number;
  readonly onFault: OnFault;
}

/**
 * The root keys of all documents that may not be as PostgreSQL has them, page by page: those that differ from what the index holds,
 * where they can be compared, else all, and those that the index holds without a root row.
 *
 * While an index is loaded they cannot: a document that the load has read before the change may still be on its way, and would
 * find nothing newer in the index. Nor can they where the index does not hold what was sent (an ingest pipeline).
 *
 * @param moment what is read holds everything before it
 * @throws postgres.js' errors; PgsyncError of the search engine, or as `SourceSession.lease`; the signal's reason
 */
export async function* reconciledKeys(
  writer: IndexWriter,
  options: ReconcileOptions,
  moment: ServerMoment,
  signal: AbortSignal,
): AsyncGenerator<readonly RootKey[]> {
  const { session, search } = options;
  const { mapped, generation } = writer;
  // What was refused may be in the index as PostgreSQL has it by now, or in neither: no comparison would find it, and only
  // what is written leaves the list.
  for (const ids of writer.refusedIds()) yield keysOf(ids, mapped);
  const held = () => holdsContents({ mapped, search, generation }, signal);
  const doing = "read the settings of the index";
  if (
    writer.isLoaded && !session.hasReplica && await session.untilDone(held, doing, options.onFault, signal)
  ) {
    const compared = { ...options, workers: 1, mapped, generation, contents: true, places: 0 };
    for await (const page of differences(compared, signal)) {
      const impossible = page.filter(({ key }) => key === null).map(({ id }) => id);
      await removeOwnRemains(impossible, writer, options, moment, signal);
      yield page.flatMap(({ key }) => key ?? []);
    }
    return;
  }
  {
    using lease = await session.lease(session.lookups, moment);
    yield* cursorKeys(lease.sql, allKeysSql(mapped), [], signal, options.memory.pageKeys);
  }
  yield* extraRoots(writer, options, moment, signal);
}
