import type { DatabasePlan, IndexPlan, NodePlanSummary, RunPlan } from "../sync/setup/plan.ts";
import { formatCount } from "../status/figures.ts";
import { toJson } from "./format.ts";
import { table } from "./table.ts";

/**
 * A plan for people.
 *
 * @param verbose with the statements and mappings
 */
export function describePlan(plan: RunPlan, verbose: boolean): string {
  const lines = plan.databases.flatMap((database, position) => [
    ...position === 0 ? [] : [""],
    ...describeDatabase(database, verbose),
  ]);
  if (!verbose) lines.push("", "Statements and mappings: --verbose, or --json.");
  return lines.join("\n");
}

const VIEW_CHANGES = {
  "looked up": "a changed row leads to the documents that it touches",
  compared: "each change has all documents of the index compared",
  refreshed: "a refresh, by us or by others, has all documents of the index compared",
} as const;

function describeDatabase(plan: DatabasePlan, verbose: boolean): string[] {
  const lines = [
    `Database ${plan.database}, PostgreSQL ${plan.server.version}, slot ${plan.slot}, publication ${plan.publication}`,
  ];
  const section = (title: string, content: readonly string[]) => {
    if (content.length > 0) lines.push("", title, ...content.map((line) => `  ${line}`));
  };
  for (const index of plan.indices) section(`Index ${index.index}`, describeIndex(index, verbose));
  section(
    "Replica identities",
    plan.replicaIdentities.flatMap(({ table, columns, reason, satisfied, sql }) => [
      `${satisfied ? "there   " : "missing "} ${table} (${columns.join(", ")}): ${reason}`,
      ...sql === null ? [] : [`         ${sql}`],
    ]),
  );
  section(
    "Views",
    plan.views.map(({ index, node, table, changes }) =>
      `${table} below ${node} of ${index}: ${VIEW_CHANGES[changes]}`
    ),
  );
  section("Warnings", plan.warnings);
  section(
    "Missing indexes",
    plan.missingIndexes.flatMap(({ table, columns, reason, sql }) => [
      `${table} (${columns.join(", ")}): ${reason}`,
      `  ${sql}`,
    ]),
  );
  section(
    "What bootstrap would run",
    plan.bootstrapSql.flatMap((sql) => `${sql.replace(/;\s*$/, "")};`.split("\n")),
  );
  section(
    "What is wrong",
    plan.problems.flatMap(({ code, message, remedy }) => [
      `${code}: ${message}`,
      ...remedy.split("\n").map((line) => `  ${line}`),
    ]),
  );
  if (plan.problems.length === 0) lines.push("", "Nothing is wrong.");
  return lines;
}

function describeIndex(plan: IndexPlan, verbose: boolean): string[] {
  const lines = table(treeRows(plan.tree, "", ""));
  if (!verbose) return lines;
  const block = (title: string, text: string) => lines.push("", `${title}:`, ...text.split("\n"));
  block("mapping", toJson(plan.mapping, 2));
  block("settings", toJson(plan.settings, 2));
  block("documents of a whole table", plan.loadSql);
  block("documents of given keys", plan.keysSql);
  for (const { node, sql } of plan.impactSql) block(`documents touched by ${node}`, sql ?? "no query needed");
  return lines;
}

/** The tree with its branches drawn: label and table, join, rows, fields. */
function treeRows(node: NodePlanSummary, lead: string, childLead: string): string[][] {
  const label = node.path.split(".").at(-1) ?? node.path;
  // as people write it: quotes only where they are needed, and no "public"
  const tableName = node.table.replaceAll(/"([a-z_][a-z0-9_]*)"/g, "$1").replace(/^public\./, "");
  const join = node.join === null ? "" : `${node.type ?? ""} ${node.join}`.trim();
  const own = [
    `${lead}${label}${label === tableName ? "" : ` (${tableName})`}`,
    join,
    `~${formatCount(node.estimatedRows)} rows`,
    node.fields.join(", "),
  ];
  const last = node.children.length - 1;
  return [
    own,
    ...node.children.flatMap((child, position) =>
      treeRows(
        child,
        `${childLead}${position === last ? "└ " : "├ "}`,
        `${childLead}${position === last ? "  " : "│ "}`,
      )
    ),
  ];
}
