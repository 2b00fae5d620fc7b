import { getLogger } from "@logtape/logtape";
import { readCatalog } from "../../catalog/read.ts";
import type { MaterializedView } from "../../catalog/types.ts";
import { backendOfQuery } from "../../postgres/backend.ts";
import { connectPostgres, errorContext, type Sql } from "../../postgres/connect.ts";
import { postgresError } from "../../postgres/errors.ts";
import { quoteQualified } from "../../postgres/quote.ts";
import { onlyServer } from "../../postgres/server_identity.ts";
import { delayOrAbort } from "../../retry/backoff.ts";
import type { StatusBoard } from "../../status/status_board.ts";
import type { DatabaseState } from "../database_state.ts";
import { distinctViews, materializedViews, type RefreshResult, refreshView } from "./materialized_views.ts";
import type { RunOptions } from "../options.ts";

const logger = getLogger(["pgsync", "sync"]);

/** How long the server may take to hear that a refresh is to be given up. */
const CANCEL_LIMIT_MS = 1_000;

/** What a refresher works with. */
export interface ViewRefresherOptions {
  readonly run: RunOptions;
  readonly state: DatabaseState;
  readonly board: StatusBoard;
}

/**
 * Refreshes the materialised views of a database, in their order. What fails is told, and tried again the next time.
 *
 * The documents are compared by whoever notices it (`SourceWatch`): a look at the catalog shows a refresh, ours or somebody
 * else's, by the view's file or by the rows that were written to it.
 */
export class ViewRefresher implements AsyncDisposable {
  /** A connection of its own: a refresh may take long, and ends with it. */
  readonly #sql: Sql;
  /** Views of which it has been told that the role may not refresh them. */
  readonly #told = new Set<number>();
  /** The query that refreshes now. */
  #statement: object | null = null;
  #closing: Promise<void> | null = null;

  constructor(private readonly options: ViewRefresherOptions) {
    const { run: { postgres }, state: { database, mapping } } = options;
    const admit = onlyServer(postgres, mapping.catalog.server);
    this.#sql = connectPostgres(postgres, { database, purpose: "refresh", max: 1, kind: "admin", admit });
  }

  /** Closes the connection; a refresh under way is given up. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** A server that is not asked to would refresh to the end for nobody, with the view locked: it looks at its client only then. */
  async #close(): Promise<void> {
    const backend = this.#statement === null ? undefined : backendOfQuery(this.#statement);
    if (backend !== undefined) {
      const limit = new AbortController();
      const cancelled = backend.cancel().catch((error: unknown) =>
        logger.debug("a refresh could not be cancelled: {error}", { error })
      );
      await Promise.race([cancelled, delayOrAbort(CANCEL_LIMIT_MS, limit.signal)]);
      limit.abort();
    }
    await this.#sql.end({ timeout: 0 });
  }

  /** Refreshes all of them once. @returns those whose rows may have changed */
  async refresh(signal: AbortSignal): Promise<ReadonlySet<number>> {
    const changed = new Set<number>();
    if (!this.#hasWork) return changed;
    const sql = this.#sql;
    const { server } = this.options.state.mapping.catalog;
    for (const view of await this.#views(signal)) {
      if (signal.aborted) break;
      const result = await refreshView(sql, view, server.role, (query) => this.#statement = query);
      this.#statement = null;
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

  /**
   * Refreshes all of them at each interval until the signal, which cuts off a refresh under way.
   *
   * @param onRefreshed told when rows may have changed
   */
  async run(onRefreshed: () => void, signal: AbortSignal): Promise<void> {
    signal.addEventListener("abort", () => void this[Symbol.asyncDispose](), { once: true });
    while (this.#hasWork) {
      await delayOrAbort(this.options.run.viewRefreshSeconds * 1000, signal);
      if (signal.aborted) return;
      const changed = await this.refresh(signal);
      if (changed.size > 0) onRefreshed();
    }
  }

  get #hasWork(): boolean {
    const { run, state } = this.options;
    return run.viewRefreshSeconds > 0 && materializedViews(state.mapping.documents).length > 0;
  }

  /** As they are now: an index or a right may have come or gone. */
  async #views(signal: AbortSignal): Promise<MaterializedView[]> {
    const { state: { mapping: { documents } }, board } = this.options;
    const sql = this.#sql;
    const nodes = documents.flatMap(({ nodes }) => nodes).filter((node) => node.relation.view !== undefined);
    try {
      const catalog = await readCatalog(sql, nodes.map((node) => node.relation));
      return distinctViews(nodes.map((node) => catalog.relation(node.relation)));
    } catch (thrown) {
      const { message } = postgresError(thrown, errorContext(sql, "describe materialised views"));
      if (!signal.aborted) board.warn(`No materialised view was refreshed: ${message}`);
      return [];
    }
  }

  #tell(view: MaterializedView, result: RefreshResult): void {
    const { run: { viewRefreshSeconds }, board } = this.options;
    const name = quoteQualified(view);
    switch (result.kind) {
      case "refreshed":
        logger.debug("{statement}", { statement: result.statement });
        break;
      case "denied":
        if (this.#told.has(view.oid)) return;
        this.#told.add(view.oid);
        board.warn(`the role may not refresh ${name}; when others do, it is noticed. ${result.remedy}`);
        break;
      case "failed":
        board.warn(
          `${name} was not refreshed: ${result.error.message} It is tried again in ${viewRefreshSeconds} s.`,
        );
    }
  }
}
