import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import { isObject, type JsonObject, type JsonValue } from "../schema/tree.ts";
import type { SearchClient } from "./client.ts";

/** A field whose mapping in the index is another than the one wanted. A field cannot be mapped anew. */
export interface KeptField {
  /** With dots between the levels. */
  readonly field: string;
  readonly held: string;
  readonly wanted: string;
}

/** How the mapping of an index and the one that is wanted differ. */
export interface MappingDifference {
  /** The body under `properties` that adds what is lacking; empty where nothing is. */
  readonly lacking: JsonObject;
  /** The fields that are added. */
  readonly added: readonly string[];
  readonly kept: readonly KeptField[];
}

/** Compares two bodies under `properties`. Pure. What the index has beyond is left to it. */
export function mappingDifference(held: JsonObject, wanted: JsonObject, path = ""): MappingDifference {
  const lacking: JsonObject = {};
  const added: string[] = [];
  const kept: KeptField[] = [];
  for (const [name, definition] of Object.entries(wanted)) {
    const field = path === "" ? name : `${path}.${name}`;
    const known = fieldOf(held, name);
    if (known === undefined) {
      lacking[name] = definition;
      added.push(field);
    } else if (typeOf(known) !== typeOf(definition)) {
      kept.push({ field, held: typeOf(known), wanted: typeOf(definition) });
    } else if (isObject(definition) && isObject(definition["properties"])) {
      const heldInside = isObject(known) && isObject(known["properties"]) ? known["properties"] : {};
      const inside = mappingDifference(heldInside, definition["properties"], field);
      added.push(...inside.added);
      kept.push(...inside.kept);
      if (inside.added.length > 0) {
        // The type must be said again where it is not the default, or Elasticsearch takes it for a change.
        const type = definition["type"] === undefined ? {} : { type: definition["type"] };
        lacking[name] = { ...type, properties: inside.lacking };
      }
    }
  }
  return { lacking, added, kept };
}

/** The definition of a field; one that has dots in its name the engine keeps a level for each. */
function fieldOf(held: JsonObject, name: string): JsonValue | undefined {
  if (Object.hasOwn(held, name)) return held[name];
  let level = held;
  let found: JsonValue | undefined;
  for (const step of name.split(".")) {
    found = Object.hasOwn(level, step) ? level[step] : undefined;
    if (found === undefined) return undefined;
    level = isObject(found) && isObject(found["properties"]) ? found["properties"] : {};
  }
  return found;
}

const mappingsSchema = z.record(
  z.string(),
  z.object({ mappings: z.object({ properties: z.json().optional() }).default({}) }),
);

/**
 * Adds to an index the fields of a mapping that it lacks.
 *
 * @param mapping the body under `mappings`
 * @throws PgsyncError FIELDS_REFUSED; others of the search engine
 */
export async function extendMapping(
  client: SearchClient,
  generation: string,
  mapping: JsonObject,
  signal?: AbortSignal,
): Promise<MappingDifference> {
  const difference = await compareMapping(client, generation, mapping, signal);
  if (difference.added.length > 0) {
    const changed = await client.request({
      method: "PUT",
      path: mappingPath(generation),
      body: { properties: difference.lacking },
      doing: `add fields to the mapping of "${generation}"`,
      signal,
    });
    if (changed.verdict === "refused") {
      const { message } = changed.refusal();
      throw new PgsyncError("FIELDS_REFUSED", message, { cause: changed.body });
    }
    changed.expectOk();
  }
  return difference;
}

/**
 * Compares the mapping of an index with the one that is wanted.
 *
 * @param mapping the body under `mappings`
 * @throws PgsyncError of the search engine
 */
export async function compareMapping(
  client: SearchClient,
  generation: string,
  mapping: JsonObject,
  signal?: AbortSignal,
): Promise<MappingDifference> {
  const response = await client.request({
    method: "GET",
    path: mappingPath(generation),
    doing: `read the mapping of "${generation}"`,
    signal,
  });
  const held = response.read(mappingsSchema)[generation]?.mappings.properties;
  return mappingDifference(toObject(held), toObject(mapping["properties"]));
}

function mappingPath(generation: string): string {
  return `/${encodeURIComponent(generation)}/_mapping`;
}

/** Elasticsearch leaves the type of an object out. */
function typeOf(definition: JsonValue): string {
  if (!isObject(definition)) return "object";
  return typeof definition["type"] === "string" ? definition["type"] : "object";
}

function toObject(value: unknown): JsonObject {
  const parsed = z.record(z.string(), z.json()).safeParse(value);
  return parsed.success ? parsed.data : {};
}
