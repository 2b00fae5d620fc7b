import { PgsyncError } from "../../errors/error.ts";
import { quoteQualified } from "../../postgres/quote.ts";
import { missingTables, type PublicationState } from "../../replication/publication.ts";
import type { QualifiedName } from "../../schema/tree.ts";

/** Why the stream no longer tells of the tables what it should, and of which. */
export interface SourceFault {
  readonly error: PgsyncError;
  readonly tables: readonly QualifiedName[];
}

/** A table with what tells one from another of its name. */
export type TableOid = QualifiedName & { readonly oid: number | null };

/**
 * Whether the stream still carries all changes of the tables. Pure.
 *
 * @param name of the publication
 * @returns SOURCE_CHANGED or PUBLICATION_MISSING; null when all is well
 */
export function sourceFault(
  before: readonly TableOid[],
  now: readonly TableOid[],
  publication: PublicationState | null,
  name: string,
): SourceFault | null {
  const found = new Map(now.map((table) => [quoteQualified(table), table.oid]));
  const others = before.filter((table) => {
    const oid = found.get(quoteQualified(table)) ?? null;
    // Where all tables are published, the other one is, too, from its first row on; it only has to be mapped.
    return oid !== table.oid && (oid === null || publication?.allTables !== true);
  });
  if (others.length > 0) {
    return {
      tables: others,
      error: new PgsyncError(
        "SOURCE_CHANGED",
        `While it was followed, ${
          others.map(quoteQualified).join(", ")
        } was dropped or renamed, or another table got its name.`,
        {
          remedy: "Mend the schema file if the table has another name now; then start with --bootstrap, " +
            "which loads its documents anew.",
        },
      ),
    };
  }
  const lacking = missingTables(publication, before);
  if (lacking.length === 0) return null;
  return {
    tables: lacking,
    error: new PgsyncError(
      "PUBLICATION_MISSING",
      publication === null
        ? `The publication "${name}" does not exist any more.`
        : `The publication "${name}" no longer carries all changes of ${
          lacking.map(quoteQualified).join(", ")
        }.`,
      { remedy: "Start with --bootstrap, which mends the publication and loads the documents anew." },
    ),
  };
}
