import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import { isObject, type JsonObject } from "../schema/tree.ts";
import type { SearchClient } from "./client.ts";
import { checkIndexName, generationName, isGenerationOf, writeAlias } from "./generation.ts";
import { type IndexMeta, readMeta, writeMeta } from "./index_meta.ts";

/**
 * How long the engine remembers that a document was deleted, where the schema file does not say (`index.gc_deletes`): longer than its own 60 s, for a
 * request that lies frozen somewhere on its way, and arrives after that, would bring the document back. Not much longer: each deletion costs
 * some 150 bytes of the engine's heap for as long (it keeps them in memory only, and a restart of the node forgets them all), so that 1,000 deletions a second
 * are 90 MB.
 */
export const DELETES_KNOWN_FOR = "10m";

/** What stands under the name that readers use. */
export interface IndexDescription {
  /** The index itself: behind the alias, or the plain index of that name. */
  readonly generation: string;
  /** Null where the index is not ours. */
  readonly meta: IndexMeta | null;
  /** False where a plain index has the name. */
  readonly isAlias: boolean;
}

/** What an index is made of. */
export interface IndexDefinition {
  /** The name that readers use. */
  readonly alias: string;
  /** The body of `mappings`. */
  readonly mapping: JsonObject;
  /** Settings of the schema file, with or without the level `index`. */
  readonly settings: JsonObject | null;
  readonly meta: IndexMeta;
}

/** What a teardown removed and what it left. */
export interface DroppedIndices {
  readonly dropped: readonly string[];
  /** Indices under the name that are not ours; untouched. */
  readonly foreign: readonly string[];
}

const indicesSchema = z.record(
  z.string(),
  z.object({
    aliases: z.record(z.string(), z.object({ is_write_index: z.boolean().optional() })).default({}),
    mappings: z.object({ _meta: z.record(z.string(), z.unknown()).optional() }).default({}),
  }),
);

type Indices = z.infer<typeof indicesSchema>;

/**
 * What stands under a name: null where nothing does.
 *
 * @throws PgsyncError of the search engine; INDEX_FOREIGN where the alias names several indices; SCHEMA_INVALID for a
 *   name that no index can have
 */
export async function describeIndex(
  client: SearchClient,
  alias: string,
  signal?: AbortSignal,
): Promise<IndexDescription | null> {
  checkIndexName(alias);
  const found = await getIndices(client, alias, signal);
  const names = Object.keys(found);
  const [generation, ...others] = names;
  if (generation === undefined) return null;
  if (others.length > 0) {
    throw new PgsyncError(
      "INDEX_FOREIGN",
      `The alias "${alias}" names several indices (${names.join(", ")}), which this program never makes.`,
    );
  }
  return {
    generation,
    meta: metaOf(found[generation]),
    isAlias: generation !== alias,
  };
}

/**
 * Makes the index and its alias in one call, unless they are there. An index that is there is returned as it is: the
 * caller compares `meta`.
 *
 * @param now the time that names the generation
 * @throws PgsyncError INDEX_FOREIGN where the name belongs to an index that is not ours; SCHEMA_INVALID for a name
 *   that no index can have; SEARCH_REFUSED with the engine's reason where mapping or settings are at fault
 */
export async function ensureIndex(
  client: SearchClient,
  definition: IndexDefinition,
  signal?: AbortSignal,
  now: () => Date = () => new Date(),
): Promise<{ readonly generation: string; readonly meta: IndexMeta; readonly created: boolean }> {
  const { alias, meta } = definition;
  checkIndexName(alias);
  const existing = await describeIndex(client, alias, signal);
  if (existing !== null) {
    if (existing.meta !== null && existing.isAlias) {
      return { generation: existing.generation, meta: existing.meta, created: false };
    }
    throw new PgsyncError(
      "INDEX_FOREIGN",
      existing.isAlias
        ? `The alias "${alias}" names the index "${existing.generation}", which this program did not make.`
        : `An index named "${alias}" exists that this program did not make.`,
    );
  }
  try {
    return { generation: await createGeneration(client, definition, now(), signal), meta, created: true };
  } catch (thrown) {
    // A run that ended a moment ago may have asked for it, and its request was carried out after our look.
    if (!(thrown instanceof PgsyncError)) throw thrown;
    const made = await describeIndex(client, alias, signal);
    if (made === null || made.meta === null || !made.isAlias) throw thrown;
    return { generation: made.generation, meta: made.meta, created: false };
  }
}

async function createGeneration(
  client: SearchClient,
  { alias, mapping, settings, meta }: IndexDefinition,
  time: Date,
  signal?: AbortSignal,
): Promise<string> {
  const generation = generationName(alias, time);
  const userMeta = isObject(mapping._meta) ? mapping._meta : {};
  const response = await client.request({
    method: "PUT",
    path: `/${encodeURIComponent(generation)}`,
    body: {
      settings: { index: { gc_deletes: DELETES_KNOWN_FOR, ...indexLevel(settings) } },
      mappings: { ...mapping, _meta: { ...userMeta, pgsync: writeMeta(meta) } },
      aliases: { [alias]: { is_write_index: true }, [writeAlias(generation)]: { is_hidden: true } },
    },
    doing: `create the index "${generation}"`,
    signal,
  });
  response.expectOk();
  return generation;
}

/** The settings below the level `index`, whether the schema file wrote that level (`index: {…}`, `index.x: …`) or not. */
export function indexLevel(settings: JsonObject | null): Record<string, unknown> {
  const level: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(settings ?? {})) {
    if (key === "index" && isObject(value)) Object.assign(level, value);
    else level[key.startsWith("index.") ? key.slice("index.".length) : key] = value;
  }
  return level;
}

/**
 * Writes what the index says of itself anew. Other entries of the mapping's `_meta` stay.
 *
 * @throws PgsyncError INDEX_MISSING where the index is gone; others of the search engine
 */
export async function updateMeta(
  client: SearchClient,
  generation: string,
  meta: IndexMeta,
  signal?: AbortSignal,
): Promise<void> {
  await changeMeta(client, generation, () => writeMeta(meta), signal);
}

/**
 * Notes in the index whether its initial load is finished. All else that it says of itself stays as it is by now.
 *
 * @throws PgsyncError INDEX_MISSING where the index is gone, INDEX_FOREIGN where it is not ours; others of the search engine
 */
export async function setLoaded(
  client: SearchClient,
  generation: string,
  loaded: boolean,
  signal?: AbortSignal,
): Promise<void> {
  const change = (meta: IndexMeta | null) => {
    if (meta !== null) return writeMeta({ ...meta, loaded });
    throw new PgsyncError(
      "INDEX_FOREIGN",
      `The index "${generation}" says no more that this program made it.`,
    );
  };
  await changeMeta(client, generation, change, signal);
}

async function changeMeta(
  client: SearchClient,
  generation: string,
  change: (meta: IndexMeta | null) => Record<string, unknown>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const existing = (await getIndices(client, generation, signal))[generation];
  if (existing === undefined) {
    throw new PgsyncError("INDEX_MISSING", `The index "${generation}" does not exist.`);
  }
  const response = await client.request({
    method: "PUT",
    path: `/${encodeURIComponent(generation)}/_mapping`,
    body: { _meta: { ...existing.mappings._meta, pgsync: change(metaOf(existing)) } },
    doing: `change the mapping of "${generation}"`,
    signal,
  });
  response.expectOk();
}

/** The number of documents that searches see. @throws PgsyncError of the search engine */
export async function countDocuments(
  client: SearchClient,
  index: string,
  signal?: AbortSignal,
): Promise<number> {
  const response = await client.request({
    method: "GET",
    path: `/${encodeURIComponent(index)}/_count`,
    doing: `count the documents of "${index}"`,
    signal,
  });
  return response.read(z.object({ count: z.number() })).count;
}

/** Whether an ingest pipeline of this name exists. @throws PgsyncError of the search engine */
export async function pipelineExists(
  client: SearchClient,
  name: string,
  signal?: AbortSignal,
): Promise<boolean> {
  const response = await client.request({
    method: "GET",
    path: `/_ingest/pipeline/${encodeURIComponent(name)}`,
    doing: `describe the pipeline "${name}"`,
    signal,
  });
  if (response.status === 404) return false;
  response.expectOk();
  return true;
}

/**
 * Removes an alias and every generation of ours behind it or left over from it. What is not ours stays.
 *
 * @throws PgsyncError of the search engine
 */
export async function dropIndex(
  client: SearchClient,
  alias: string,
  signal?: AbortSignal,
): Promise<DroppedIndices> {
  checkIndexName(alias);
  const named = await getIndices(client, alias, signal);
  const candidates = { ...await getIndices(client, `${alias}_*`, signal), ...named };
  const isOurs = (index: string) => isGenerationOf(alias, index) && metaOf(candidates[index]) !== null;
  const dropped = Object.keys(candidates).filter(isOurs).sort();
  for (const index of dropped) {
    const response = await client.request({
      method: "DELETE",
      path: `/${encodeURIComponent(index)}`,
      doing: `remove the index "${index}"`,
      signal,
    });
    if (response.verdict !== "index-missing") response.expectOk();
  }
  return { dropped, foreign: Object.keys(named).filter((index) => !isOurs(index)) };
}

async function getIndices(client: SearchClient, name: string, signal?: AbortSignal): Promise<Indices> {
  // A star is the only thing that must stay readable to the engine.
  const path = `/${encodeURIComponent(name).replaceAll("%2A", "*")}`;
  const response = await client.request({
    method: "GET",
    path,
    query: { expand_wildcards: "all" },
    doing: `describe the index "${name}"`,
    signal,
  });
  if (response.verdict === "index-missing") return {};
  return response.read(indicesSchema);
}

function metaOf(index: Indices[string] | undefined): IndexMeta | null {
  return readMeta(index?.mappings._meta?.pgsync);
}
