import type { ChangeSource } from "../mapping/change_sources.ts";
import { arrayLiteral } from "../postgres/array.ts";
import type { ChangeBatch } from "./change_batch.ts";
import type { IndexWriter } from "../documents/index_writer.ts";
import { cursorKeys } from "../documents/cursor_keys.ts";
import { KeySet } from "../documents/key_set.ts";
import { keyColumns, type RootKey } from "../documents/root_keys.ts";
import type { ServerMoment } from "../documents/source_clock.ts";
import { bytesOfKeys } from "../documents/work_memory.ts";
import { reconciledKeys, type ReconcileOptions } from "./reconcile.ts";

/** Pages of keys whose link values go into one statement. */
const PAGES_A_STATEMENT = 2;

/**
 * The root keys of one index that a batch touches, page by page, each (nearly always) once. To be asked for when all
 * transactions of the batch are visible, because edges further up are looked up in the tables as they are now.
 *
 * @param moment the batch's: what is read holds everything before it
 * @throws postgres.js' errors; PgsyncError of the search engine, or as `SourceSession.lease`; the signal's reason
 */
export async function* touchedKeys(
  batch: ChangeBatch,
  writer: IndexWriter,
  reconcile: ReconcileOptions,
  moment: ServerMoment,
  signal: AbortSignal,
): AsyncGenerator<readonly RootKey[]> {
  const { mapped } = writer;
  const { memory } = reconcile;
  using held = memory.keys.count(0);
  const inStatement = PAGES_A_STATEMENT * memory.pageKeys;
  const wanted = batch.keys.get(mapped)?.pages(inStatement) ?? [];
  const sources = [...batch.values].filter(([source]) => source.document === mapped);
  if (batch.reconcile.has(mapped)) {
    // A document that the load has read, and not yet written, is in no listing: where its root is gone by now, only a
    // deletion keeps it out.
    if (!writer.isLoaded) yield* rootKeys(sources, inStatement);
    yield* wanted;
    yield* reconciledKeys(writer, reconcile, moment, signal);
    return;
  }
  // Beyond its part of the memory a batch forgets which keys it has given: to give one twice is harmless.
  const given = new KeySet();
  for (const page of wanted) {
    for (const key of page) given.add(key);
    held.resize(given.bytes + bytesOfKeys(page));
    yield page;
  }
  for (const [at, [source, values]] of sources.entries()) {
    let left = values.size;
    for (const part of values.pages(inStatement)) {
      left -= part.length;
      const ofPart = bytesOfKeys(part);
      // A statement gives each key once, and so does a set of root keys: what the last one gives need not be remembered.
      const remember = at < sources.length - 1 || (source.sql !== null && left > 0);
      const pages = source.sql === null
        ? [part]
        : lookedUp(source, source.sql, part, reconcile, moment, signal);
      for await (const page of pages) {
        signal.throwIfAborted();
        if (given.bytes > memory.rememberedBytes) given.clear();
        const fresh = page.filter((key) => remember ? given.add(key) : !given.has(key));
        held.resize(given.bytes + ofPart + bytesOfKeys(page));
        if (fresh.length > 0) yield fresh;
      }
    }
  }
}

/** The root keys among link values. */
function* rootKeys(
  sources: readonly (readonly [ChangeSource, KeySet])[],
  length: number,
): Generator<readonly RootKey[]> {
  for (const [source, values] of sources) {
    if (source.sql === null) yield* values.pages(length);
  }
}

async function* lookedUp(
  source: ChangeSource,
  statement: string,
  values: readonly RootKey[],
  { session, memory }: Pick<ReconcileOptions, "session" | "memory">,
  moment: ServerMoment,
  signal: AbortSignal,
): AsyncGenerator<RootKey[]> {
  const columns = keyColumns(values, source.linkColumns.length);
  using lease = await session.lease(session.lookups, moment);
  yield* cursorKeys(lease.sql, statement, columns.map(arrayLiteral), signal, memory.pageKeys);
}
