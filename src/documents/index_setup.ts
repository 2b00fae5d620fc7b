import { createHash } from "node:crypto";
import { getLogger } from "@logtape/logtape";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { PgsyncError } from "../errors/error.ts";
import { describeChanges, type IndexChange, indexChanges } from "../mapping/index_changes.ts";
import {
  descriptionText,
  hasOtherKey,
  type IndexDescription,
  indexDescription,
  parseDescription,
} from "../mapping/index_description.ts";
import { indexMapping } from "../mapping/index_mapping.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { DocumentSchema } from "../schema/tree.ts";
import type { SearchClient } from "../search/client.ts";
import {
  describeIndex,
  ensureIndex,
  type IndexDefinition,
  pipelineExists,
  setLoaded,
  updateMeta,
} from "../search/index.ts";
import type { IndexMeta } from "../search/index_meta.ts";
import { extendMapping } from "../search/extend_mapping.ts";
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
      description: descriptionText(indexDescription(mapped)),
    },
  };
}

/**
 * Finds the index of a document, or makes it.
 *
 * @param remake make the index anew where it is gone though it had been loaded
 * @param keptKey as `checkMeta`
 * @throws PgsyncError INDEX_MISSING, INDEX_CHANGED, INDEX_FOREIGN; others of the search engine
 */
export async function openIndex(
  search: SearchClient,
  mapped: MappedDocument,
  systemIdentifier: string,
  checkpoint: Checkpoint,
  remake: boolean,
  keptKey: boolean,
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
  const found = await ensureIndex(search, definition, signal);
  const { generation } = found;
  const verdict = checkMeta(mapped, found.meta, definition.meta, keptKey);
  const adopted = await adoptSchema(
    search,
    checkpoint,
    { index, generation },
    found.meta,
    definition.meta,
    verdict,
    signal,
  );
  await addFields(search, index, generation, definition, signal);
  let meta = adopted;
  if (progress !== null && progress.generation !== generation) {
    if (meta.loaded) {
      // The position stands for the documents of the other one.
      logger.warn(
        "the alias {index} names {generation}, and no longer {before}, whose documents the checkpoint file knows: the index is " +
          "loaded anew in place",
        { index, generation, before: progress.generation },
      );
      meta = { ...meta, loaded: false };
      await setLoaded(search, generation, false, signal);
    }
    // Last: whoever is interrupted before finds the same again.
    checkpoint.forgetLoad(index);
  }
  if (meta.loaded) return { generation, meta, loaded: true };
  if (verdict.kind !== "sources" && progress?.finished === true && progress.generation === generation) {
    // The process ended between the two notes that the load is finished.
    const loadedMeta = { ...meta, loaded: true };
    await setLoaded(search, generation, true, signal);
    return { generation, meta: loadedMeta, loaded: true };
  }
  return { generation, meta, loaded: false };
}

/** Gives the index the fields of columns that were added since it was made. */
async function addFields(
  search: SearchClient,
  index: string,
  generation: string,
  { mapping }: IndexDefinition,
  signal: AbortSignal,
): Promise<void> {
  const { added, kept } = await extendMapping(search, generation, mapping, signal);
  if (added.length > 0) {
    logger.info("fields were added to the mapping of index {index}: {fields}", {
      index,
      fields: added.join(", "),
    });
  }
  for (const { field, held, wanted } of kept) {
    logger.warn(
      "field {field} of index {index} stays mapped as {held}, though its column makes it {wanted} now: a field cannot be mapped " +
        "anew, so values that do not fit are not found by it, or their documents become dead letters; pgsync teardown and " +
        "a start with --bootstrap give the new mapping",
      { field, index, held, wanted },
    );
  }
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
  if (existing !== null && loaded) {
    await setLoaded(search, existing.generation, false);
  }
  checkpoint.forgetLoad(index);
  return loaded;
}

/** How the schema file stands to an index that was made before. */
export type SchemaVerdict =
  /** It is the file that the index was made for, as far as its documents go. */
  | { readonly kind: "same" }
  /** Values come from elsewhere, but the documents look the same. */
  | { readonly kind: "sources"; readonly changes: readonly IndexChange[] };

/**
 * Whether documents of the schema file may be written to an index.
 *
 * @param found what the index says of itself
 * @param keptKey the columns of the root's key are known to be the same ones, whatever they are called now
 * @throws PgsyncError INDEX_CHANGED where they have another shape than those in it, INDEX_FOREIGN
 */
export function checkMeta(
  mapped: MappedDocument,
  found: IndexMeta,
  expected: IndexMeta,
  keptKey = false,
): SchemaVerdict {
  const { index } = mapped.schema;
  if (found.database !== expected.database || found.systemIdentifier !== expected.systemIdentifier) {
    throw new PgsyncError(
      "INDEX_FOREIGN",
      `The index "${index}" was made for database "${found.database}" of the PostgreSQL server ` +
        `${found.systemIdentifier}, not for "${expected.database}" of ${expected.systemIdentifier}.`,
    );
  }
  const before = found.description === null ? null : parseDescription(found.description);
  const { relation } = mapped.root;
  const now = indexDescription(mapped);
  if (before?.root.table === now.root.table && hasOtherKey(before, now, keptKey)) {
    throw new PgsyncError(
      "INDEX_CHANGED",
      `The primary key of "${relation.schema}"."${relation.table}" is another than the one that the index "${index}" was made for: ` +
        `it was (${keyText(before)}) and is (${keyText(now)}), so its documents have other _ids.`,
    );
  }
  if (found.schemaHash === expected.schemaHash) return { kind: "same" };
  if (before === null) {
    throw new PgsyncError(
      "INDEX_CHANGED",
      `The index "${index}" was made for another version of the schema file; what changed is not known, for an older ` +
        "version of this program made it.",
    );
  }
  const changes = indexChanges(before, now, mapped);
  if (changes.length === 0) return { kind: "same" };
  if (changes.every((change) => change.kind === "source")) return { kind: "sources", changes };
  throw new PgsyncError(
    "INDEX_CHANGED",
    `The index "${index}" was made for another version of the schema file; since then ${
      describeChanges(changes)
    }.`,
  );
}

/** The columns of a key with their types, either of which may have changed; an index of an older version knows no names. */
function keyText({ key, keyColumns = [] }: IndexDescription): string {
  return key.map((type, at) => [...keyColumns.slice(at, at + 1), type].join(" ")).join(", ");
}

/** Notes in the index for which schema file it is from now on. @returns what it says of itself then */
async function adoptSchema(
  search: SearchClient,
  checkpoint: Checkpoint,
  { index, generation }: { readonly index: string; readonly generation: string },
  found: IndexMeta,
  expected: IndexMeta,
  verdict: SchemaVerdict,
  signal: AbortSignal,
): Promise<IndexMeta> {
  const { schemaHash, description } = expected;
  if (verdict.kind === "sources") {
    logger.warn(
      "the schema file of index {index} has changed: {changes}; the documents keep their shape, so the index is " +
        "loaded anew in place",
      { index, changes: describeChanges(verdict.changes) },
    );
    // Forgotten first: whoever is interrupted between the two finds the change again.
    checkpoint.forgetLoad(index);
    const meta = { ...found, schemaHash, description, loaded: false };
    await updateMeta(search, generation, meta, signal);
    return meta;
  }
  if (found.schemaHash === schemaHash && found.description === description) return found;
  if (found.schemaHash !== schemaHash) {
    logger.info("the schema file of index {index} was rewritten; its documents are the same", { index });
  }
  const meta = { ...found, schemaHash, description };
  await updateMeta(search, generation, meta, signal);
  return meta;
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
