import { getLogger } from "@logtape/logtape";
import { readCatalog } from "../catalog/read.ts";
import type { MaterializedView, Relation, ServerFacts } from "../catalog/types.ts";
import type { PgsyncError } from "../errors/error.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import { errorContext, type Sql } from "../postgres/connect.ts";
import { postgresError } from "../postgres/errors.ts";
import { quoteIdentifier, quoteQualified } from "../postgres/quote.ts";
import { delayOrAbort } from "../retry/backoff.ts";

const logger = getLogger(["pgsync", "sync"]);

/**
 * Refreshing materialised views. Their documents are compared by whoever notices it (`SourceWatch`): a look at the catalog
 * shows a refresh, ours or somebody else's, by the view's file or by the rows that were written to it.
 */

/** The materialised views that documents read, each once and after those that it reads itself. */
export function materializedViews(documents: readonly MappedDocument[]): MaterializedView[] {
  return distinctViews(documents.flatMap(({ nodes }) => nodes.map((node) => node.relation)));
}

function distinctViews(relations: readonly (Relation | null)[]): MaterializedView[] {
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
 */
export async function refreshView(sql: Sql, view: MaterializedView, role: string): Promise<RefreshResult> {
  if (!view.mayRefresh) return { kind: "denied", remedy: deniedRemedy(view, role) };
  const statement = refreshSql(view);
  try {
    return { kind: "refreshed", changed: await run(sql, view, statement), statement };
  } catch (thrown) {
    const doing = `refresh ${quoteQualified(view)}`;
    return { kind: "failed", error: postgresError(thrown, errorContext(sql, doing)) };
  }
}

/** The statement that refreshes a view; PostgreSQL refuses CONCURRENTLY on one that holds nothing yet. */
export function refreshSql(view: MaterializedView): string {
  const how = view.concurrently && view.populated ? "CONCURRENTLY " : "";
  return `REFRESH MATERIALIZED VIEW ${how}${quoteQualified(view)};`;
}

function deniedRemedy(view: MaterializedView, role: string): string {
  const name = quoteQualified(view);
  return `Have "${view.owner}" run: ${
    refreshSql(view)
  } or, from PostgreSQL 17 on: GRANT MAINTAIN ON ${name} TO ${quoteIdentifier(role)};`;
}

/** @returns whether rows may have changed */
async function run(sql: Sql, view: MaterializedView, statement: string): Promise<boolean> {
  if (!statement.includes(" CONCURRENTLY ")) {
    await sql.unsafe(statement);
    return true;
  }
  return await sql.begin(async (transaction) => {
    await transaction.unsafe(statement);
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

/** What refreshes the views of a database again and again. */
export interface ViewRefresherOptions {
  /** A pool of its own, of kind `admin`. */
  readonly sql: Sql;
  readonly server: ServerFacts;
  readonly documents: readonly MappedDocument[];
  /** 0: never. */
  readonly intervalSeconds: number;
  readonly onWarning: (message: string) => void;
}

/** Refreshes the materialised views of a database, in their order. What fails is told, and tried again the next time. */
export class ViewRefresher {
  /** Views of which it has been told that the role may not refresh them. */
  readonly #told = new Set<number>();

  constructor(private readonly options: ViewRefresherOptions) {}

  /** Refreshes all of them once. @returns those whose rows may have changed */
  async refresh(signal: AbortSignal): Promise<ReadonlySet<number>> {
    const { sql, server, intervalSeconds } = this.options;
    const changed = new Set<number>();
    if (intervalSeconds === 0) return changed;
    for (const view of await this.#views(signal)) {
      if (signal.aborted) break;
      const result = await refreshView(sql, view, server.role);
      // The connection was closed under it.
      if (signal.aborted) break;
      if (result.kind === "refreshed" && result.changed) changed.add(view.oid);
      this.#tell(view, result);
    }
    if (changed.size > 0 && server.versionNumber >= 150000) {
      // So that the next look sees what was written; before PostgreSQL 15 it takes half a second.
      await sql`SELECT pg_catalog.pg_stat_force_next_flush()`.catch((error: unknown) =>
        logger.debug("statistics could not be flushed: {error}", { error })
      );
    }
    return changed;
  }

  /** Refreshes all of them at each interval. @param onRefreshed told when rows may have changed */
  async run(onRefreshed: () => void, signal: AbortSignal): Promise<void> {
    const { intervalSeconds, documents } = this.options;
    if (intervalSeconds === 0 || materializedViews(documents).length === 0) return;
    for (;;) {
      await delayOrAbort(intervalSeconds * 1000, signal);
      if (signal.aborted) return;
      const changed = await this.refresh(signal);
      if (changed.size > 0) onRefreshed();
    }
  }

  /** As they are now: an index or a right may have come or gone. */
  async #views(signal: AbortSignal): Promise<MaterializedView[]> {
    const { sql, documents, onWarning } = this.options;
    const nodes = documents.flatMap(({ nodes }) => nodes).filter((node) => node.relation.view !== undefined);
    try {
      const catalog = await readCatalog(sql, nodes.map((node) => node.relation));
      return distinctViews(nodes.map((node) => catalog.relation(node.relation)));
    } catch (thrown) {
      const { message } = postgresError(thrown, errorContext(sql, "describe materialised views"));
      if (!signal.aborted) onWarning(`No materialised view was refreshed: ${message}`);
      return [];
    }
  }

  #tell(view: MaterializedView, result: RefreshResult): void {
    const { onWarning, intervalSeconds } = this.options;
    const name = quoteQualified(view);
    switch (result.kind) {
      case "refreshed":
        logger.debug("{statement}", { statement: result.statement });
        break;
      case "denied":
        if (this.#told.has(view.oid)) return;
        this.#told.add(view.oid);
        onWarning(`the role may not refresh ${name}; when others do, it is noticed. ${result.remedy}`);
        break;
      case "failed":
        onWarning(
          `${name} was not refreshed: ${result.error.message} It is tried again in ${intervalSeconds} s.`,
        );
    }
  }
}
