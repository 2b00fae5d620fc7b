import { createHash } from "node:crypto";
import { getLogger } from "@logtape/logtape";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { PgsyncError } from "../errors/error.ts";
import { indexMapping } from "../mapping/index_mapping.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { DocumentSchema } from "../schema/tree.ts";
import type { SearchClient } from "../search/client.ts";
import {
  describeIndex,
  ensureIndex,
  type IndexDefinition,
  type IndexMeta,
  pipelineExists,
  updateMeta,
} from "../search/index.ts";
import { VERSION } from "../version.ts";

const logger = getLogger(["pgsync", "documents"]);

/** An index that is ready to be written to. */
export interface OpenIndex {
  readonly generation: string;
  readonly meta: IndexMeta;
  /** All documents were loaded once; the stream keeps them equal. */
  readonly loaded: boolean;
}

/** What an index is made of. */
export function indexDefinition(mapped: MappedDocument, systemIdentifier: string): IndexDefinition {
  return {
    alias: mapped.schema.index,
    mapping: indexMapping(mapped),
    settings: mapped.schema.setting,
    meta: {
      schemaHash: schemaHash(mapped.schema),
      database: mapped.schema.database,
      systemIdentifier,
      loaded: false,
      createdBy: VERSION,
    },
  };
}

/**
 * Finds the index of a document, or makes it.
 *
 * @param remake make the index anew where it is gone though it had been loaded
 * @throws PgsyncError INDEX_MISSING, INDEX_CHANGED, INDEX_FOREIGN; others of the search engine
 */
export async function openIndex(
  search: SearchClient,
  mapped: MappedDocument,
  systemIdentifier: string,
  checkpoint: Checkpoint,
  remake: boolean,
  signal: AbortSignal,
): Promise<OpenIndex> {
  const { index, pipeline } = mapped.schema;
  if (pipeline !== null && !await pipelineExists(search, pipeline, signal)) {
    throw new PgsyncError(
      "PIPELINE_MISSING",
      `The ingest pipeline "${pipeline}" of index "${index}" does not exist.`,
    );
  }
  const progress = checkpoint.load(index);
  const existing = await describeIndex(search, index, signal);
  if (existing === null && progress?.finished === true) {
    if (!remake) {
      throw new PgsyncError(
        "INDEX_MISSING",
        `The index "${index}" does not exist, though its documents had been loaded.`,
      );
    }
    logger.warn("the index {index} is gone; it is made and loaded anew", { index });
  }
  const definition = indexDefinition(mapped, systemIdentifier);
  const { generation, meta } = await ensureIndex(search, definition, signal);
  checkMeta(index, meta, definition.meta);
  if (progress !== null && progress.generation !== generation) checkpoint.forgetLoad(index);
  if (meta.loaded) return { generation, meta, loaded: true };
  if (progress?.finished === true && progress.generation === generation) {
    // The process ended between the two notes that the load is finished.
    const loadedMeta = { ...meta, loaded: true };
    await updateMeta(search, generation, loadedMeta, signal);
    return { generation, meta: loadedMeta, loaded: true };
  }
  return { generation, meta, loaded: false };
}

/**
 * Makes an index count as not loaded: the next run loads it, and compares what it holds.
 *
 * @returns whether it had been loaded
 * @throws PgsyncError of the search engine
 */
export async function markUnloaded(
  search: SearchClient,
  checkpoint: Checkpoint,
  index: string,
): Promise<boolean> {
  const existing = await describeIndex(search, index);
  const loaded = existing?.meta?.loaded === true;
  if (existing?.meta?.loaded === true) {
    await updateMeta(search, existing.generation, { ...existing.meta, loaded: false });
  }
  checkpoint.forgetLoad(index);
  return loaded;
}

/** @throws PgsyncError INDEX_CHANGED, INDEX_FOREIGN */
export function checkMeta(index: string, found: IndexMeta, expected: IndexMeta): void {
  if (found.database !== expected.database || found.systemIdentifier !== expected.systemIdentifier) {
    throw new PgsyncError(
      "INDEX_FOREIGN",
      `The index "${index}" was made for database "${found.database}" of the PostgreSQL server ` +
        `${found.systemIdentifier}, not for "${expected.database}" of ${expected.systemIdentifier}.`,
    );
  }
  if (found.schemaHash !== expected.schemaHash) {
    throw new PgsyncError(
      "INDEX_CHANGED",
      `The index "${index}" was made for another version of the schema file; its documents have another shape.`,
    );
  }
}

/**
 * A hash of what the schema file says of a document. An index is made for one: documents of two shapes never mix in it.
 * It covers the file, not the catalog: a column that is added where all are asked for changes no hash.
 */
export function schemaHash(document: DocumentSchema): string {
  // Where something stands in the file is no matter; a field of the mapping may have any of its names.
  const text = JSON.stringify(document, (_key, value: unknown) => isPlace(value) ? undefined : value);
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

function isPlace(value: unknown): boolean {
  return typeof value === "object" && value !== null &&
    Object.keys(value).toSorted().join() === "column,file,line,path";
}
