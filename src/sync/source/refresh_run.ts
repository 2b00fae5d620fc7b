import { readCatalog } from "../../catalog/read.ts";
import { PgsyncError } from "../../errors/error.ts";
import { connectPostgres, errorContext } from "../../postgres/connect.ts";
import { postgresError } from "../../postgres/errors.ts";
import { quoteQualified } from "../../postgres/quote.ts";
import type { Report } from "../setup/bootstrap.ts";
import { byDatabase, mapDatabase, namedTables, relationProblems } from "../database_mapping.ts";
import type { RunOptions } from "../options.ts";
import { materializedViews, refreshView } from "./materialized_views.ts";

/**
 * Refreshes once the materialised views that the documents of a schema file read, each after those that it reads itself. A run
 * that follows them notices it at its next look at the catalog.
 *
 * @param report receives the statements that were run
 * @throws PgsyncError of the first view that cannot be refreshed
 */
export async function refreshAll(options: RunOptions, report: Report): Promise<void> {
  for (const [database, documents] of byDatabase(options.schema.documents)) {
    const sql = connectPostgres(options.postgres, { database, purpose: "refresh", max: 1, kind: "admin" });
    try {
      const catalog = await readCatalog(sql, namedTables(documents)).catch((thrown: unknown) => {
        throw postgresError(thrown, errorContext(sql, "read its catalog"));
      });
      const [problem] = relationProblems(documents, catalog);
      if (problem !== undefined) throw problem;
      const { role } = catalog.server;
      for (const view of materializedViews(mapDatabase(documents, catalog).documents)) {
        const result = await refreshView(sql, view, role);
        if (result.kind === "failed") throw result.error;
        if (result.kind === "denied") {
          throw new PgsyncError(
            "PRIVILEGE_MISSING",
            `Role "${role}" may not refresh ${quoteQualified(view)}.`,
            { remedy: result.remedy },
          );
        }
        report(result.statement);
      }
    } finally {
      await sql.end({ timeout: 1 });
    }
  }
}
