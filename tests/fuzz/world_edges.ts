/** The ways from a table to others that a schema file can take, and how it writes them. */
import { chance, pick, type Random, shuffled } from "../support/random.ts";
import type { ColumnDraft, EdgeDraft, Graph, ReferenceDraft, TableDraft } from "./world_drafts.ts";

/** A way to another table (or to the same one). */
export interface Way {
  readonly child: TableDraft;
  readonly edge: EdgeDraft;
}

/** All ways from a table. */
export function waysFrom(graph: Graph, table: TableDraft): Way[] {
  const ways: Way[] = [];
  for (const reference of graph.references) {
    if (reference.from === table) {
      ways.push({ child: reference.target, edge: { kind: "direct", reference, direction: "up" } });
    }
    if (reference.target === table) {
      ways.push({ child: reference.from, edge: { kind: "direct", reference, direction: "down" } });
    }
  }
  for (const between of graph.tables) {
    if (between.name.includes(".") || between.schema.includes(".")) continue;
    const toParent = onlyConstraint(graph, between, table);
    if (toParent === null) continue;
    for (const child of graph.tables) {
      const toChild = child === table || child === between ? null : onlyConstraint(graph, between, child);
      if (toChild !== null && between !== table) {
        ways.push({ child, edge: { kind: "through", table: between, toParent, toChild } });
      }
    }
  }
  return ways;
}

/** The one constraint from a table to another; null where there are several or none. */
function onlyConstraint(graph: Graph, from: TableDraft, target: TableDraft): ReferenceDraft | null {
  const found = distinctConstraints(graph, from, target);
  return found.length === 1 ? found[0] ?? null : null;
}

function distinctConstraints(graph: Graph, from: TableDraft, target: TableDraft): ReferenceDraft[] {
  const found = graph.references.filter((reference) =>
    reference.from === from && reference.target === target && reference.constraint !== null
  );
  return [...new Map(found.map((reference) => [pairsKey(reference), reference])).values()];
}

function pairsKey({ columns, targetColumns }: ReferenceDraft): string {
  return JSON.stringify(columns.map((column, at) => [column.name, targetColumns[at]?.name]).toSorted());
}

/** Whether the rows below can be several for one row above. */
export function fansOut({ edge }: Way): boolean {
  if (edge.kind === "through") return true;
  const { reference, direction } = edge;
  const far = direction === "up"
    ? { table: reference.target, columns: reference.targetColumns }
    : { table: reference.from, columns: reference.columns };
  if (far.table.view?.keyIsUnique === false) return true;
  const keys = [far.table.primaryKey, ...far.table.uniques].filter((key) => key.length > 0);
  return !keys.some((key) => key.every((column) => far.columns.includes(column)));
}

/** The parts of `relationship` that say which way is taken; nothing where the tables' one constraint says it. */
export function relationshipOf(
  random: Random,
  graph: Graph,
  parent: TableDraft,
  { child, edge }: Way,
): Record<string, unknown> {
  if (edge.kind === "through") {
    const { schema, name } = edge.table;
    // A bare name is looked for in the child's schema.
    return { through_tables: [schema === child.schema && chance(random, 70) ? name : `${schema}.${name}`] };
  }
  const { reference, direction } = edge;
  const constraints = parent === child
    ? distinctConstraints(graph, parent, parent)
    : [...distinctConstraints(graph, parent, child), ...distinctConstraints(graph, child, parent)];
  const [only] = constraints;
  // Between a table and itself the rows below are those that refer to the row above.
  const discovered = constraints.length === 1 && only !== undefined && reference.constraint !== null &&
    pairsKey(only) === pairsKey(reference) && (parent !== child || direction === "down");
  if (discovered && chance(random, 85)) return {};
  const pairs = shuffled(
    random,
    reference.columns.map((column, at) => [column, reference.targetColumns[at] ?? column] as const),
  );
  const own = pairs.map(([column]) => column);
  const target = pairs.map(([, column]) => column);
  const [above, below] = direction === "up" ? [own, target] : [target, own];
  return { foreign_key: { parent: written(random, parent, above), child: written(random, child, below) } };
}

/** In one of the forms that the schema file takes. */
function written(random: Random, table: TableDraft, columns: readonly ColumnDraft[]): unknown {
  const names = columns.map((column) => column.name);
  const [only] = names;
  const form = pick(random, ["list", "list", "single", "table"]);
  if (form === "single" && names.length === 1) return only;
  return form === "table" ? { [table.name]: names } : names;
}
