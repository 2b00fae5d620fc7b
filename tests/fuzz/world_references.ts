/** References between tables: with a constraint, without one, and by values that are no key. */
import { chance, pick, type Random, shuffled } from "../support/random.ts";
import type { ColumnDraft, Graph, ReferenceDraft, TableDraft } from "./world_drafts.ts";
import type { Names } from "./world_names.ts";
import { comparableType, keyColumn } from "./world_types.ts";

/** What a constraint can refer to: the primary key and the unique constraints. */
export function keysOf(table: TableDraft): readonly (readonly ColumnDraft[])[] {
  return [...(table.primaryKey.length > 0 ? [table.primaryKey] : []), ...table.uniques];
}

/**
 * Adds a reference to one of the target's keys. A constraint that would close a circle of tables becomes a reference
 * without one, for rows must be insertable in some order.
 *
 * @param identifying its columns become part of the primary key
 */
export function addReference(
  random: Random,
  graph: Graph,
  names: Names,
  from: TableDraft,
  target: TableDraft,
  { constraint, identifying }: { readonly constraint: boolean; readonly identifying: boolean },
): ReferenceDraft {
  const keys = keysOf(target);
  const key = chance(random, 60) ? keys[0] ?? [] : pick(random, keys);
  const targetColumns = shuffled(random, key);
  const guarded = constraint && (from === target || !reaches(graph, target, from));
  const columns: ColumnDraft[] = [];
  for (const targetColumn of targetColumns) {
    const column = linkColumn(random, names, from, target, targetColumn, {
      guarded,
      identifying,
      taken: columns,
    });
    columns.push(column);
  }
  const nullable = columns.every((column) => !column.notNull);
  const actions = [
    "NO ACTION",
    "CASCADE",
    ...(nullable && !identifying ? ["SET NULL"] as const : []),
  ] as const;
  const reference: ReferenceDraft = {
    ...{ from, columns, target, targetColumns },
    constraint: guarded
      ? { onDelete: pick(random, actions), onUpdate: pick(random, actions), deferrable: chance(random, 25) }
      : null,
    indexed: chance(random, 80),
  };
  graph.references.push(reference);
  return reference;
}

function linkColumn(
  random: Random,
  names: Names,
  from: TableDraft,
  target: TableDraft,
  targetColumn: ColumnDraft,
  { guarded, identifying, taken }: {
    readonly guarded: boolean;
    readonly identifying: boolean;
    readonly taken: readonly ColumnDraft[];
  },
): ColumnDraft {
  const { keyType } = targetColumn;
  if (keyType === null) throw new TypeError(`${targetColumn.name} is no key column`);
  // One column may serve two references, as a tenant's does.
  const shared = from === target
    ? []
    : from.columns.filter((column) =>
      column.keyType === keyType && !taken.includes(column) && (!identifying || column.notNull)
    );
  if (shared.length > 0 && chance(random, 40)) return pick(random, shared);
  const other = chance(random, 15) ? comparableType(random, keyType) : null;
  // PostgreSQL has no foreign key from numeric to a whole number, but does compare them.
  const type = other === null || (guarded && other.kind === "numeric") ? keyType : other;
  const short = `${target.name}_${targetColumn.name}`;
  const plain = short.length < 20 && /^[a-z_]+$/.test(short) ? short : "ref";
  const column = keyColumn(names.column(from, plain), type, identifying || chance(random, 20));
  from.columns.push(column);
  return column;
}

/** Joins two tables by columns that are no key of either, so that many rows meet many. */
export function addValueJoin(
  random: Random,
  graph: Graph,
  names: Names,
  from: TableDraft,
  target: TableDraft,
): void {
  const source = graph.tables.flatMap((table) => table.columns).filter((column) => column.keyType !== null);
  const { keyType } = pick(random, source);
  if (keyType === null) return;
  const columnOf = (table: TableDraft) => {
    const column = keyColumn(names.column(table, "group"), keyType, false);
    table.columns.push(column);
    return column;
  };
  const targetColumn = columnOf(target);
  const column = from === target && chance(random, 50) ? targetColumn : columnOf(from);
  graph.references.push({
    ...{ from, columns: [column], target, targetColumns: [targetColumn] },
    constraint: null,
    indexed: chance(random, 60),
  });
}

/** Whether constraints lead from one table to another. */
function reaches(graph: Graph, from: TableDraft, to: TableDraft): boolean {
  const seen = new Set([from]);
  for (const table of seen) {
    for (const reference of graph.references) {
      if (reference.from === table && reference.constraint !== null) seen.add(reference.target);
    }
  }
  return seen.has(to);
}

/** The tables so that each stands behind those that its constraints refer to. */
export function insertable(graph: Graph): TableDraft[] {
  const ordered: TableDraft[] = [];
  const visit = (table: TableDraft) => {
    if (ordered.includes(table)) return;
    for (const { from, target, constraint } of graph.references) {
      if (from === table && target !== table && constraint !== null) visit(target);
    }
    ordered.push(table);
  };
  for (const table of graph.tables) visit(table);
  return ordered;
}
