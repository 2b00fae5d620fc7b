import { loadSql } from "../mapping/document_sql.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import { copyOut } from "../postgres/copy.ts";
import { CopyBinaryReader } from "../postgres/copy_binary.ts";
import type { Session } from "../postgres/session.ts";

/**
 * Takes a document that was read by COPY: its JSON, UTF-8, is what `bytes` hold from `start` up to `end`. They may be kept. While its promise
 * is open, the COPY is held back. What it throws cancels the COPY.
 */
export type OnDocument = (id: string, bytes: Buffer, start: number, end: number) => void | Promise<void>;

/**
 * Reads the documents of one range of root rows by COPY, their bytes untouched.
 *
 * @param range as `loadSql` takes it
 * @param onDocument called for each in the order of the COPY, never while an earlier call is unfinished
 * @throws as `copyOut`
 */
export async function copyDocuments(
  session: Session,
  mapped: MappedDocument,
  range: Parameters<typeof loadSql>[1],
  onDocument: OnDocument,
  signal: AbortSignal,
): Promise<void> {
  const reader = new CopyBinaryReader();
  /** @returns a promise only where one of the documents has one */
  const read = (): void | Promise<void> => {
    while (reader.next()) {
      const [idStart, idEnd, start, end] = [reader.start(0), reader.end(0), reader.start(1), reader.end(1)];
      if (Number.isNaN(idStart) || Number.isNaN(start)) {
        throw new RangeError("a COPY of documents met a row without _id or document");
      }
      const { bytes } = reader;
      const pending = onDocument(bytes.toString("utf8", idStart, idEnd), bytes, start, end);
      if (pending !== undefined) return pending.then(read);
    }
  };
  await copyOut(
    session,
    `COPY (${loadSql(mapped, range)}) TO STDOUT (FORMAT binary)`,
    (bytes, start, end) => {
      reader.push(bytes, start, end);
      return read();
    },
    signal,
  );
  reader.finish();
}
