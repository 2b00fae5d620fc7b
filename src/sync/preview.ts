import { readCatalog } from "../catalog/read.ts";
import { loadSql } from "../mapping/document_sql.ts";
import { connectPostgres, errorContext } from "../postgres/connect.ts";
import { postgresError } from "../postgres/errors.ts";
import { byDatabase, mapDatabase, namedTables, relationProblems } from "./database_mapping.ts";
import type { RunOptions } from "./options.ts";

/** One document as it would be indexed. */
export interface PreviewDocument {
  /** The index it would go to. */
  readonly _index: string;
  /** Its id. */
  readonly _id: string;
  /** JSON text as PostgreSQL made it, untouched. */
  readonly _source: string;
}

/** Documents read at once. */
const PAGE = 100;

/**
 * Builds documents without a search engine, slot or publication.
 *
 * @param limit at most so many documents of each index; null: all
 * @throws PgsyncError
 */
export async function* preview(
  options: RunOptions,
  limit: number | null,
  signal?: AbortSignal,
): AsyncGenerator<PreviewDocument> {
  for (const [database, documents] of byDatabase(options.schema.documents)) {
    const server = options.postgresReplica ?? options.postgres;
    const sql = connectPostgres(server, { database, purpose: "preview", max: 1, kind: "builder" });
    try {
      const names = namedTables(documents);
      const catalog = await readCatalog(sql, names);
      const [problem] = relationProblems(documents, catalog);
      if (problem !== undefined) throw problem;
      for (const mapped of mapDatabase(documents, catalog).documents) {
        const most = limit === null ? "" : `\nLIMIT ${limit}`;
        const query = sql.unsafe(`${loadSql(mapped, { kind: "whole" })}${most}`).values();
        for await (const rows of query.cursor(PAGE)) {
          signal?.throwIfAborted();
          for (const [id, source] of rows) {
            yield { _index: mapped.schema.index, _id: String(id), _source: String(source) };
          }
        }
      }
    } catch (thrown) {
      signal?.throwIfAborted();
      throw postgresError(thrown, errorContext(sql, "build documents"));
    } finally {
      await sql.end({ timeout: 0 });
    }
  }
}
