import type { Relation } from "../catalog/types.ts";
import type { LoadChunk } from "../checkpoint/types.ts";
import type { Chunk } from "../mapping/chunk_sql.ts";

/** Where PostgreSQL has no estimate yet (never analysed), a page is taken to hold so many rows. */
const GUESSED_ROWS_A_PAGE = 50;

/** A root that is read in one piece. */
export function wholeChunks(root: Relation): LoadChunk[] {
  return [chunk(root, 0, "whole", null, null)];
}

/**
 * Divides a root table by its pages. The same range of pages is read of every leaf partition, so no right on the leaves
 * themselves is needed. The last chunk has no end: rows may have been added behind it.
 *
 * @param rowsAChunk about how many rows a chunk shall have
 */
export function pageChunks(root: Relation, rowsAChunk: number): LoadChunk[] {
  const pages = Math.max(0, ...root.heaps.map((heap) => heap.pages));
  const guessed = root.heaps.reduce((sum, heap) => sum + heap.pages, 0) * GUESSED_ROWS_A_PAGE;
  const rows = root.estimatedRows > 0 ? root.estimatedRows : guessed;
  const count = Math.max(1, Math.min(pages, Math.ceil(rows / rowsAChunk)));
  if (count === 1) return wholeChunks(root);
  const step = Math.ceil(pages / count);
  const chunks: LoadChunk[] = [];
  for (let from = 0; from < pages; from += step) {
    const last = from + step >= pages;
    chunks.push(chunk(root, chunks.length, "tid", String(from), last ? null : String(from + step)));
  }
  return chunks;
}

/**
 * Divides a root table by keys.
 *
 * @param bounds the last key of each chunk but the last, in order, as texts in the order of the primary key
 */
export function keyChunks(root: Relation, bounds: readonly (readonly string[])[]): LoadChunk[] {
  const texts = bounds.map((bound) => JSON.stringify(bound));
  return [...texts, null].map((to, index) =>
    chunk(root, index, "keys", index === 0 ? null : texts[index - 1] ?? null, to)
  );
}

/** The chunk as the document SQL wants it. @throws RangeError where the stored bounds are not ours */
export function chunkRange(stored: LoadChunk): Chunk {
  switch (stored.kind) {
    case "whole":
      return { kind: "whole" };
    case "tid":
      return { kind: "pages", from: page(stored.from) ?? 0, to: page(stored.to) };
    case "keys":
      return { kind: "keys", from: key(stored.from), to: key(stored.to) };
  }
}

/**
 * Tells a table's storage from what it was before a rewrite (VACUUM FULL, CLUSTER, some ALTER TABLEs), which moves rows
 * to other pages. A 32-bit mix of the leaves' file numbers.
 */
export function storageFingerprint(relation: Relation): number {
  return relation.heaps.reduce(
    (mix, heap) => (Math.imul(mix, 31) + Math.imul(heap.oid, 17) + heap.filenode) >>> 0,
    7,
  );
}

function chunk(
  root: Relation,
  number: number,
  kind: LoadChunk["kind"],
  from: string | null,
  to: string | null,
): LoadChunk {
  return {
    number,
    heapSchema: root.schema,
    heapTable: root.table,
    heapOid: root.oid,
    filenode: storageFingerprint(root),
    kind,
    from,
    to,
  };
}

function page(text: string | null): number | null {
  if (text === null) return null;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not a page number: ${text}`);
  return value;
}

function key(text: string | null): string[] | null {
  if (text === null) return null;
  const value: unknown = JSON.parse(text);
  if (!Array.isArray(value) || !value.every((part) => typeof part === "string")) {
    throw new RangeError(`not a key: ${text}`);
  }
  return value;
}
