import { checkMeta, indexDefinition } from "../documents/index_setup.ts";
import { PgsyncError } from "../errors/error.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { SearchClient } from "../search/client.ts";
import { describeIndex } from "../search/index.ts";

/** An index that a sync has made. */
export interface ExistingIndex {
  /** The index behind the alias. */
  readonly generation: string;
  /** All its documents were written once. */
  readonly loaded: boolean;
}

/**
 * Finds the index of a document for a command that works beside a sync, and makes nothing.
 *
 * @throws PgsyncError INDEX_MISSING, INDEX_FOREIGN, INDEX_CHANGED; others of the search engine; the signal's reason
 */
export async function existingIndex(
  search: SearchClient,
  mapped: MappedDocument,
  systemIdentifier: string,
  signal: AbortSignal,
): Promise<ExistingIndex> {
  const { index } = mapped.schema;
  const existing = await describeIndex(search, index, signal);
  if (existing === null) throw new PgsyncError("INDEX_MISSING", `The index "${index}" does not exist.`);
  if (existing.meta === null || !existing.isAlias) {
    throw new PgsyncError(
      "INDEX_FOREIGN",
      `The index "${existing.generation}" was not made by this program.`,
    );
  }
  checkMeta(mapped, existing.meta, indexDefinition(mapped, systemIdentifier).meta);
  return { generation: existing.generation, loaded: existing.meta.loaded };
}
