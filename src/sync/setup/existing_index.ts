import { checkMeta, indexDefinition } from "../../documents/index_setup.ts";
import { PgsyncError } from "../../errors/error.ts";
import type { MappedDocument } from "../../mapping/tree.ts";
import type { SearchClient } from "../../search/client.ts";
import { compareMapping } from "../../search/extend_mapping.ts";
import { describeIndex } from "../../search/index.ts";

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
 * @param toWrite whether documents are to be written to it. The engine would guess the mapping of a field that it does not have yet,
 *   and keep to that for good; so whoever is not the run waits until the run has added it
 * @throws PgsyncError INDEX_MISSING, INDEX_FOREIGN, INDEX_CHANGED; SOURCE_CHANGED where it lacks fields; others of the search engine;
 *   the signal's reason
 */
export async function existingIndex(
  search: SearchClient,
  mapped: MappedDocument,
  systemIdentifier: string,
  toWrite: boolean,
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
  const { generation, meta } = existing;
  const definition = indexDefinition(mapped, systemIdentifier);
  checkMeta(mapped, meta, definition.meta);
  if (toWrite) {
    const { added } = await compareMapping(search, generation, definition.mapping, signal);
    if (added.length > 0) throw lacksFields(index, added);
  }
  return { generation, loaded: meta.loaded };
}

function lacksFields(index: string, fields: readonly string[]): PgsyncError {
  return new PgsyncError(
    "SOURCE_CHANGED",
    `The tables of index "${index}" were altered, and no run has mapped its documents since: the index lacks ${
      fields.join(", ")
    }.`,
    { remedy: "Start the run first: it adds the fields to the index, and compares the documents." },
  );
}
