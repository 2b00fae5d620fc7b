/** Compares all documents in the search engine with PostgreSQL. */
import { type ExactObject, firstDifference } from "./digits.ts";
import { expectedDocuments } from "./expected.ts";
import type { SearchClient } from "./search_client.ts";

/** What the comparison found. */
export interface Comparison {
  /** Documents that there must be. */
  readonly expected: number;
  readonly equal: number;
  readonly different: readonly string[];
  readonly missing: readonly string[];
  readonly surplus: readonly string[];
  /** The first few faults, one line each. */
  readonly examples: readonly string[];
}

const EXAMPLES = 5;

/** Compares every document: fields, digits of numbers, nulls, order of arrays; and looks for missing and surplus ones. */
export async function compareAll(
  databaseUrl: string,
  client: SearchClient,
  index: string,
  onProgress?: (done: number, total: number) => void,
): Promise<Comparison> {
  const expected = await expectedDocuments(databaseUrl);
  const left = new Map<string, ExactObject>(expected);
  const different: string[] = [];
  const surplus: string[] = [];
  const examples: string[] = [];
  let equal = 0;
  for await (const batch of client.all(index)) {
    for (const { id, source } of batch) {
      const wanted = left.get(id);
      left.delete(id);
      const difference = wanted === undefined
        ? "exists, but its row does not"
        : firstDifference(wanted, source);
      if (difference === null) equal++;
      else (wanted === undefined ? surplus : different).push(id);
      if (difference !== null) examples.push(`${id}: ${difference}`);
    }
    onProgress?.(expected.size - left.size, expected.size);
  }
  const missing = [...left.keys()];
  examples.push(...missing.map((id) => `${id}: its row exists, but it does not`));
  return {
    expected: expected.size,
    equal,
    different,
    missing,
    surplus,
    examples: examples.slice(0, EXAMPLES),
  };
}

/** True where every document is as it must be. */
export function isEqual(comparison: Comparison): boolean {
  return comparison.equal === comparison.expected && comparison.surplus.length === 0;
}
