import type { MaterializedView, Relation } from "../../catalog/types.ts";
import type { PgsyncError } from "../../errors/error.ts";
import type { MappedDocument } from "../../mapping/tree.ts";
import { errorContext, type Sql } from "../../postgres/connect.ts";
import type { Session } from "../../postgres/session.ts";
import { postgresError } from "../../postgres/errors.ts";
import { quoteIdentifier, quoteQualified } from "../../postgres/quote.ts";

/** The materialised views that documents read, each once and after those that it reads itself. */
export function materializedViews(documents: readonly MappedDocument[]): MaterializedView[] {
  return distinctViews(documents.flatMap(({ nodes }) => nodes.map((node) => node.relation)));
}

/** The materialised views among relations and below them, each once. */
export function distinctViews(relations: readonly (Relation | null)[]): MaterializedView[] {
  const views = relations.flatMap((relation) => relation?.view?.materializedViews ?? []);
  return [...new Map(views.map((view) => [view.oid, view])).values()];
}

/** What became of a view that was to be refreshed. */
export type RefreshResult =
  | { readonly kind: "refreshed"; readonly changed: boolean; readonly statement: string }
  /** The role may not. */
  | { readonly kind: "denied"; readonly remedy: string }
  | { readonly kind: "failed"; readonly error: PgsyncError };

/**
 * Refreshes a view: concurrently where that is possible, so that nobody who reads it has to wait. Otherwise its readers wait for
 * the end of the refresh, and the refresh waits 10 s for theirs (the `lock_timeout` of admin sessions).
 *
 * @param sql a pool of kind `admin`
 * @param onStatement told of the query that refreshes, as it begins
 */
export async function refreshView(
  sql: Sql,
  view: MaterializedView,
  role: string,
  onStatement: (query: object) => void = () => {},
): Promise<RefreshResult> {
  if (!view.mayRefresh) return { kind: "denied", remedy: deniedRemedy(view, role) };
  const statement = refreshSql(view);
  try {
    return { kind: "refreshed", changed: await run(sql, view, statement, onStatement), statement };
  } catch (thrown) {
    const doing = `refresh ${quoteQualified(view)}`;
    return { kind: "failed", error: postgresError(thrown, errorContext(sql, doing)) };
  }
}

/** The statement that refreshes a view; PostgreSQL refuses CONCURRENTLY on one that holds nothing yet. */
export function refreshSql(view: MaterializedView): string {
  const how = isConcurrent(view) ? "CONCURRENTLY " : "";
  return `REFRESH MATERIALIZED VIEW ${how}${quoteQualified(view)};`;
}

function isConcurrent({ concurrently, populated }: MaterializedView): boolean {
  return concurrently && populated;
}

function deniedRemedy(view: MaterializedView, role: string): string {
  const name = quoteQualified(view);
  return `Have "${view.owner}" run: ${
    refreshSql(view)
  } or, from PostgreSQL 17 on: GRANT MAINTAIN ON ${name} TO ${quoteIdentifier(role)};`;
}

/** @returns whether rows may have changed */
async function run(
  sql: Sql,
  view: MaterializedView,
  statement: string,
  onStatement: (query: object) => void,
): Promise<boolean> {
  const refresh = async (session: Session) => {
    const query = session.unsafe(statement);
    onStatement(query);
    await query;
  };
  if (!isConcurrent(view)) {
    await refresh(sql);
    return true;
  }
  return await sql.begin(async (transaction) => {
    await refresh(transaction);
    // Only rows that differ are written, and their count within a transaction is exact, where it is kept.
    const rows = await transaction`
      SELECT FROM (SELECT ${String(view.oid)}::text::oid AS oid) AS view
      WHERE pg_catalog.current_setting('track_counts') = 'off'
        OR pg_catalog.pg_stat_get_xact_tuples_inserted(oid) > 0
        OR pg_catalog.pg_stat_get_xact_tuples_updated(oid) > 0
        OR pg_catalog.pg_stat_get_xact_tuples_deleted(oid) > 0`;
    return rows.length > 0;
  });
}
