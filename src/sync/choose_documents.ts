import { PgsyncError } from "../errors/error.ts";
import { didYouMean } from "../schema/suggest.ts";
import type { DocumentSchema } from "../schema/tree.ts";

/**
 * The documents that a command is about.
 *
 * @param indices their indices; null: all
 * @throws PgsyncError USAGE where an index is named that is not in the schema file
 */
export function chooseDocuments(
  documents: readonly DocumentSchema[],
  indices: readonly string[] | null,
): readonly DocumentSchema[] {
  if (indices === null) return documents;
  const names = documents.map(({ index }) => index);
  for (const name of indices) {
    if (names.includes(name)) continue;
    throw new PgsyncError(
      "USAGE",
      `The schema file has no index "${name}"${didYouMean(name, names) || "."}`,
      { remedy: `Its indices are ${names.join(", ")}.` },
    );
  }
  return documents.filter(({ index }) => indices.includes(index));
}
