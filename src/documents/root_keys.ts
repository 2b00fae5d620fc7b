import { splitId } from "../mapping/id_sql.ts";
import type { MappedDocument } from "../mapping/tree.ts";

/**
 * Root keys in memory: the texts of the key's columns, in the order of `MappedDocument.key`, joined with NUL, which no
 * PostgreSQL text can hold. One string is the cheapest thing that a Set can tell apart.
 */
export type RootKey = string;

const SEPARATOR = "\0";

/** Joins the texts of a key's columns. */
export function joinKey(values: readonly string[]): RootKey {
  return values.length === 1 ? values.join() : values.join(SEPARATOR);
}

/** The texts of a key's columns. */
export function splitKey(key: RootKey): string[] {
  return key.split(SEPARATOR);
}

/**
 * Turns keys into columns, as array parameters want them.
 *
 * @param width the number of key columns
 */
export function keyColumns(keys: readonly RootKey[], width: number): string[][] {
  if (width === 1) return [[...keys]];
  const columns: string[][] = Array.from({ length: width }, () => []);
  for (const key of keys) {
    for (const [index, value] of splitKey(key).entries()) columns[index]?.push(value);
  }
  return columns;
}

/** The root keys of ids. One that is no key of ours was written by somebody else, and is left out. */
export function keysOf(ids: readonly string[], { key }: MappedDocument): RootKey[] {
  return ids.flatMap((id) => {
    const values = splitId(id, key.length);
    return values === null ? [] : [joinKey(values)];
  });
}
