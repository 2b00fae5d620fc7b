/** Every document of an index against those that it must hold: the whole set of ids both ways, and every digit. */
import assert from "node:assert/strict";
import { type Exact, firstDifference, isList, isObject, parseExact } from "../../scripts/demo/digits.ts";
import { client } from "../support/elasticsearch.ts";

/** The documents of an index by their ids, numbers by their digits; after a refresh, up to 10,000. */
export async function indexedDocuments(url: string, index: string): Promise<Map<string, Exact>> {
  await client(url).request("POST", `/${encodeURIComponent(index)}/_refresh`);
  const search = new URL(`/${encodeURIComponent(index)}/_search?size=10000&track_total_hits=true`, url);
  const response = await fetch(search);
  const text = await response.text();
  if (!response.ok) throw new Error(`search of ${index}: ${response.status} ${text}`);
  const answer = parseExact(text);
  const hits = isObject(answer) && isObject(answer["hits"]) ? answer["hits"]["hits"] : undefined;
  if (!isList(hits)) throw new Error(`no hits in the answer: ${text}`);
  const documents = new Map<string, Exact>();
  for (const hit of hits) {
    if (!isObject(hit) || typeof hit["_id"] !== "string") throw new Error(`not a hit in the answer: ${text}`);
    documents.set(hit["_id"], hit["_source"] ?? null);
  }
  if (documents.size === 10_000) throw new Error(`the index ${index} may hold more than could be read`);
  return documents;
}

/** @throws AssertionError with the first differences */
export function assertSameDocuments(
  expected: ReadonlyMap<string, Exact>,
  found: ReadonlyMap<string, Exact>,
  when: string,
): void {
  const differences: string[] = [];
  for (const [id, document] of expected) {
    const other = found.get(id);
    if (other === undefined) differences.push(`document "${id}" is missing`);
    else {
      const difference = firstDifference(document, other);
      if (difference !== null) differences.push(`document "${id}": ${difference}`);
    }
  }
  for (const id of found.keys()) if (!expected.has(id)) differences.push(`document "${id}" has no row`);
  if (differences.length === 0) return;
  const more = differences.length > 5 ? `\n  and ${differences.length - 5} more` : "";
  assert.fail(
    `${when}, the index differs from the tables:\n  ${differences.slice(0, 5).join("\n  ")}${more}`,
  );
}
