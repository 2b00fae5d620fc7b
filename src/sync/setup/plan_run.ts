import type { Link } from "../../mapping/links.ts";
import { changeSources } from "../../mapping/change_sources.ts";
import { keysSql, loadSql } from "../../mapping/document_sql.ts";
import { missingIndexes } from "../../mapping/missing_indexes.ts";
import { isView, type MappedDocument, type MappedNode } from "../../mapping/tree.ts";
import { connectPostgres } from "../../postgres/connect.ts";
import { quoteQualified } from "../../postgres/quote.ts";
import type { DocumentSchema } from "../../schema/tree.ts";
import { byDatabase, slotName } from "../database_mapping.ts";
import { type DatabaseState, readDatabase } from "../database_state.ts";
import { setupProblems } from "./setup_problems.ts";
import { bootstrapStatements } from "./setup_statements.ts";
import { indexDefinition } from "../../documents/index_setup.ts";
import type { RunOptions } from "../options.ts";
import type { DatabasePlan, IndexPlan, NodePlanSummary, RunPlan, ViewPlan } from "./plan.ts";

/**
 * Says what a run would do, without doing it. It needs PostgreSQL only.
 *
 * @throws PgsyncError
 */
export async function planRun(options: RunOptions): Promise<RunPlan> {
  const databases: DatabasePlan[] = [];
  for (const [database, documents] of byDatabase(options.schema.documents)) {
    databases.push(await planDatabase(options, database, documents));
  }
  return { databases };
}

async function planDatabase(
  options: RunOptions,
  database: string,
  documents: readonly DocumentSchema[],
): Promise<DatabasePlan> {
  const admin = connectPostgres(options.postgres, { database, purpose: "plan", max: 1, kind: "admin" });
  try {
    const name = slotName(options.slot, database);
    const state = await readDatabase(admin, database, documents, name);
    const { server } = state.mapping.catalog;
    return {
      database,
      server,
      slot: name,
      publication: name,
      problems: setupProblems(state, true).map(({ code, message, remedy }) => ({ code, message, remedy })),
      bootstrapSql: bootstrapStatements(state),
      replicaIdentities: state.mapping.identities.map((need) => ({
        table: quoteQualified(need.relation),
        columns: need.columns,
        reason: need.reason,
        satisfied: need.sql.length === 0,
        sql: need.sql.length === 0 ? null : need.sql.join("; "),
      })),
      views: state.mapping.documents.flatMap(planViews),
      warnings: state.mapping.warnings,
      missingIndexes: missingOf(state),
      indices: state.mapping.documents.map((mapped) => planIndex(mapped, server.systemIdentifier)),
    };
  } finally {
    await admin.end({ timeout: 0 });
  }
}

function planViews(mapped: MappedDocument): ViewPlan[] {
  const { index } = mapped.schema;
  const views = new Set(mapped.nodes.filter((node) => isView(node.relation)));
  return [
    ...changeSources(mapped).filter((source) => views.has(source.node)).map((source): ViewPlan => ({
      index,
      node: source.node.path,
      table: quoteQualified(source.relation),
      changes: source.touches === "any" ? "compared" : "looked up",
    })),
    ...[...views].flatMap((node) =>
      (node.relation.view?.materializedViews ?? []).map((view): ViewPlan => ({
        index,
        node: node.path,
        table: quoteQualified(view),
        changes: "refreshed",
      }))
    ),
  ];
}

function missingOf(state: DatabaseState): DatabasePlan["missingIndexes"] {
  const bySql = new Map(
    state.mapping.documents.flatMap(missingIndexes).map((need) => [
      need.sql,
      { table: quoteQualified(need.relation), columns: need.columns, reason: need.reason, sql: need.sql },
    ]),
  );
  return [...bySql.values()];
}

function planIndex(mapped: MappedDocument, systemIdentifier: string): IndexPlan {
  const { mapping, settings } = indexDefinition(mapped, systemIdentifier);
  return {
    index: mapped.schema.index,
    tree: summary(mapped.root),
    mapping,
    settings: settings ?? {},
    loadSql: loadSql(mapped, { kind: "whole" }),
    keysSql: keysSql(mapped, "correlated"),
    impactSql: changeSources(mapped)
      .filter((source) => source.role !== "root" && source.touches === "linked")
      .map((source) => ({
        node: source.role === "link"
          ? `${source.node.path} (${quoteQualified(source.relation)})`
          : source.node.path,
        sql: source.sql,
      })),
  };
}

function summary(node: MappedNode): NodePlanSummary {
  return {
    path: node.path,
    table: quoteQualified(node.relation),
    join: node.link === null || node.parent === null ? null : joinText(node.link, node, node.parent),
    type: node.schema.relationship?.type ?? null,
    estimatedRows: node.relation.estimatedRows,
    fields: node.fields.map((field) => field.name),
    children: node.children.map(summary),
  };
}

/** The join as a person writes it: `rating.book_isbn = book.isbn`. */
function joinText(link: Link, node: MappedNode, parent: MappedNode): string {
  const child = node.relation.table;
  const above = parent.relation.table;
  if (link.kind === "direct") {
    return link.pairs.map((pair) => `${child}.${pair.child} = ${above}.${pair.parent}`).join(" and ");
  }
  const table = link.table.table;
  return [
    ...link.toParent.map((pair) => `${table}.${pair.link} = ${above}.${pair.parent}`),
    ...link.toChild.map((pair) => `${child}.${pair.child} = ${table}.${pair.link}`),
  ].join(" and ");
}
