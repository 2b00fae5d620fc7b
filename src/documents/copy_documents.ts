import { loadSql } from "../mapping/document_sql.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import { copyOut } from "../postgres/copy.ts";
import { CopyBinaryReader } from "../postgres/copy_binary.ts";
import type { Session } from "../postgres/session.ts";

/** Takes the documents of one COPY. */
export interface CopiedDocuments {
  /** Called for each, in the order of the COPY. @param document JSON, UTF-8 */
  readonly onDocument: (id: string, document: Buffer) => void;
  /** Called after each piece of the answer; while its promise is open, the COPY is held back. What it throws cancels the COPY. */
  readonly onPiece: () => void | Promise<void>;
}

/**
 * Reads the documents of one range of root rows by COPY, their bytes untouched.
 *
 * @param range as `loadSql` takes it
 * @throws as `copyOut`
 */
export async function copyDocuments(
  session: Session,
  mapped: MappedDocument,
  range: Parameters<typeof loadSql>[1],
  { onDocument, onPiece }: CopiedDocuments,
  signal: AbortSignal,
): Promise<void> {
  const reader = new CopyBinaryReader();
  await copyOut(session, `COPY (${loadSql(mapped, range)}) TO STDOUT (FORMAT binary)`, (bytes) => {
    reader.push(bytes, ([id, document]) => {
      if (id === null || id === undefined || document === null || document === undefined) {
        throw new RangeError("a COPY of documents met a row without _id or document");
      }
      onDocument(id.toString("utf8"), document);
    });
    return onPiece();
  }, signal);
  reader.end();
}
