import type { SearchClient } from "./client.ts";
import { errorSchema, flattenError, judge, refusal } from "./errors.ts";
import { JsonReader } from "./json_reader.ts";
import type { SearchResponse } from "./response.ts";

/** A document as the index holds it. */
export interface StoredDocument {
  readonly id: string;
  readonly version: bigint;
  /** Its JSON, byte by byte as it was sent; null where it was not asked for, or the index keeps none. */
  readonly source: Buffer | null;
}

/**
 * Reads documents by their ids, past the refresh interval.
 *
 * The engine copies a stored `_source` into its answer as it is (seen on 8.19: blanks, digits and escapes survive). With a
 * `filter_path` it would write it anew, with its own numbers; so the answer is asked for whole, and taken apart by its
 * bytes.
 *
 * @param wanted `source`: with their contents; `expected`: what these should be, in the order of `ids`, which saves most of
 * the reading where they are; `mostBytes`: so many bytes of the answer have room
 * @returns in the order of `ids`; null for one that is not there
 * @throws PgsyncError of the search engine; INDEX_MISSING
 * @throws AnswerTooLargeError where the answer has more bytes than have room
 */
export async function getDocuments(
  client: SearchClient,
  generation: string,
  ids: readonly string[],
  wanted: {
    readonly source: boolean;
    readonly expected?: readonly (Buffer | null)[];
    readonly mostBytes?: number;
  },
  signal?: AbortSignal,
): Promise<(StoredDocument | null)[]> {
  // No document has the empty id, and the engine refuses to look for it; the row that has it must not hold up the others.
  const empty = ids.indexOf("");
  if (empty !== -1) {
    const without = <T>(items: readonly T[]) => items.filter((_, at) => ids[at] !== "");
    const { expected } = wanted;
    const others = { ...wanted, ...(expected === undefined ? {} : { expected: without(expected) }) };
    const found = await getDocuments(client, generation, without(ids), others, signal);
    let next = 0;
    return ids.map((id) => id === "" ? null : found[next++] ?? null);
  }
  if (ids.length === 0) return [];
  const response = await client.request({
    method: "POST",
    path: `/${encodeURIComponent(generation)}/_mget`,
    ...(wanted.source ? {} : { query: { _source: false } }),
    body: { ids },
    ...(wanted.mostBytes === undefined ? {} : { mostBytes: wanted.mostBytes }),
    doing: `read documents of "${generation}"`,
    signal,
  });
  response.expectOk();
  const items = readItems(response, wanted.expected ?? []);
  if (items.length !== ids.length || items.some((item, at) => item.id !== ids[at])) {
    throw response.incomprehensible(new RangeError("the documents are not those that were asked for"));
  }
  return items.map(({ id, version, source }) => version === null ? null : { id, version, source });
}

interface Item {
  readonly id: string;
  /** Null where it was not found. */
  readonly version: bigint | null;
  readonly source: Buffer | null;
}

function readItems(response: SearchResponse, expected: readonly (Buffer | null)[]): Item[] {
  const reader = new JsonReader(response.bytes);
  const items: Item[] = [];
  try {
    reader.enter();
    for (let key = reader.nextKey(); key !== null; key = reader.nextKey()) {
      if (key !== "docs") {
        reader.skip();
        continue;
      }
      reader.enter();
      while (reader.nextElement()) items.push(readItem(reader, response, expected[items.length] ?? null));
    }
  } catch (thrown) {
    if (thrown instanceof SyntaxError) throw response.incomprehensible(thrown);
    throw thrown;
  }
  return items;
}

function readItem(reader: JsonReader, response: SearchResponse, expected: Buffer | null): Item {
  const { bytes, doing } = response;
  const slice = ({ start, end } = reader.skip()) => bytes.subarray(start, end);
  let id = "";
  let version: bigint | null = null;
  let source: Buffer | null = null;
  reader.enter();
  for (let key = reader.nextKey(); key !== null; key = reader.nextKey()) {
    switch (key) {
      case "_id":
        id = reader.string();
        break;
      case "_version":
        version = BigInt(slice().toString("latin1"));
        break;
      case "_source":
        source = slice(expected === null ? reader.skip() : reader.skipExpected(expected));
        break;
      case "error": {
        const error = flattenError(errorSchema.parse(JSON.parse(slice().toString("utf8"))));
        // An item has no status of its own: what is not the index's absence is a shard that does not answer.
        const status = error.type === "index_not_found_exception" ? 404 : 503;
        throw refusal(judge(status, error.type), status, error, doing);
      }
      default:
        reader.skip();
    }
  }
  return { id, version, source };
}
