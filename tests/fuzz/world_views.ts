/** Views over the tables, materialised or not: a part of one, a join of two, groups. To the trees they are tables like others. */
import { between, chance, pick, type Random, shuffled, some } from "../support/random.ts";
import {
  type ColumnDraft,
  type Graph,
  qualified,
  quote,
  type ReferenceDraft,
  type TableDraft,
} from "./world_drafts.ts";
import type { Names } from "./world_names.ts";

/** Adds none to three views, and the ways from and to them. */
export function addViews(random: Random, graph: Graph, names: Names): void {
  const tables = [...graph.tables];
  for (let count = pick(random, [0, 0, 1, 1, 2, 3]); count > 0; count--) {
    const views = graph.tables.filter((table) => table.view !== null);
    const table = views.length > 0 && chance(random, 35) ? pick(random, views) : pick(random, tables);
    const references = graph.references.filter((reference) =>
      reference.from === table && reference.target.view === null
    );
    const grouped = references.filter(canBeGrouped);
    const choice = random.below(10);
    if (choice < 3 && grouped.length > 0) addGroups(random, graph, names, pick(random, grouped));
    else if (choice < 6 && references.length > 0) {
      addRows(random, graph, names, table, pick(random, references));
    } else addRows(random, graph, names, table, null);
  }
}

/** 1.0 and 1.00 are one group, which of them it shows is nobody's promise. */
function canBeGrouped({ columns }: ReferenceDraft): boolean {
  return columns.every((column) => column.keyType !== null && column.kind !== "numeric");
}

function newView(
  random: Random,
  graph: Graph,
  names: Names,
  kind: string,
  tables: readonly TableDraft[],
): TableDraft {
  const schema = pick(random, graph.schemas);
  const materialized = chance(random, 45);
  const view: TableDraft = {
    ...{
      schema,
      name: names.table(schema),
      joins: false,
      columns: [],
      primaryKey: [],
      uniques: [],
      partitions: null,
    },
    replicaIdentity: null,
    view: {
      ...{ kind, query: "", materialized },
      tables: [...new Set(tables.flatMap((table) => table.view?.tables ?? [table]))],
      sources: tables,
      keyIsUnique: false,
    },
  };
  graph.tables.push(view);
  return view;
}

/** A column of a view that stands for one of a table. */
function passOn(random: Random, names: Names, view: TableDraft, column: ColumnDraft): ColumnDraft {
  // Most keep their name.
  const name = names.column(view, chance(random, 75) ? column.name : undefined);
  const passed: ColumnDraft = { ...column, name, notNull: false, generated: null, of: column };
  view.columns.push(passed);
  return passed;
}

/** Some rows and columns of a table, perhaps with columns of the one that it refers to. */
function addRows(
  random: Random,
  graph: Graph,
  names: Names,
  table: TableDraft,
  joined: ReferenceDraft | null,
): void {
  const tables = joined === null ? [table] : [table, joined.target];
  const view = newView(random, graph, names, joined === null ? "part of a table" : "join", tables);
  const links = graph.references.filter((reference) => reference.from === table).flatMap(({ columns }) =>
    columns
  );
  const shown = shuffled(random, [
    ...new Set([...table.primaryKey, ...links, ...some(random, table.columns, between(random, 0, 4))]),
  ]);
  const passed = new Map(shown.map((column) => [column, passOn(random, names, view, column)]));
  const items = shown.map((column) => `t.${quote(column.name)} AS ${quote(passed.get(column)?.name ?? "")}`);
  let from = `${qualified(table)} t`;
  if (joined !== null) {
    const on = joined.columns.map((column, at) =>
      `t.${quote(column.name)} = j.${quote(joined.targetColumns[at]?.name ?? "")}`
    );
    from += ` ${chance(random, 50) ? "LEFT JOIN" : "JOIN"} ${qualified(joined.target)} j ON ${
      on.join(" AND ")
    }`;
    for (const column of some(random, joined.target.columns, between(random, 1, 3))) {
      items.push(`j.${quote(column.name)} AS ${quote(passOn(random, names, view, column).name)}`);
    }
  }
  const [condition] = shuffled(
    random,
    table.columns.filter((column) => !column.notNull && column.generated === null),
  );
  const where = condition !== undefined && chance(random, 40)
    ? ` WHERE t.${quote(condition.name)} IS ${chance(random, 70) ? "NOT " : ""}NULL`
    : "";
  setQuery(view, `SELECT ${items.join(", ")} FROM ${from}${where}`);
  const ofKey = table.primaryKey.flatMap((column) => passed.get(column) ?? []);
  // Without one, its rows stand in the order of their columns.
  if (ofKey.length > 0 && chance(random, 85)) {
    view.primaryKey = shuffled(random, ofKey);
    if (view.view !== null) view.view.keyIsUnique = isUnique(table) && (joined === null || meetsOne(joined));
  }
  // Or one that rows share, and that some have not got.
  const loose = view.columns.filter(({ keyType, kind }) => keyType !== null && kind !== "numeric");
  if (view.view !== null && loose.length > 0 && chance(random, 20)) {
    view.primaryKey = some(random, loose, pick(random, [1, 1, 2]));
    view.view.keyIsUnique = false;
  }
  if (ofKey.length > 0) {
    join(random, graph, { view, columns: ofKey, target: table, targetColumns: table.primaryKey });
  }
  for (const { from: other, columns, target, targetColumns } of [...graph.references]) {
    const own = columns.flatMap((column) => passed.get(column) ?? []);
    if (other === table && target.view === null && own.length === columns.length) {
      join(random, graph, { view, columns: own, target, targetColumns });
    }
  }
}

function isUnique({ view }: TableDraft): boolean {
  return view === null || view.keyIsUnique;
}

/** Each row finds one at most. */
function meetsOne({ target, targetColumns }: ReferenceDraft): boolean {
  return [target.primaryKey, ...target.uniques].some((key) =>
    key.length > 0 && key.every((column) => targetColumns.includes(column))
  );
}

/** The rows of a table counted by what they refer to. */
function addGroups(
  random: Random,
  graph: Graph,
  names: Names,
  { from, columns, target, targetColumns }: ReferenceDraft,
): void {
  const view = newView(random, graph, names, "groups", [from]);
  const passed = columns.map((column) => passOn(random, names, view, column));
  const items = columns.map((column, at) => `t.${quote(column.name)} AS ${quote(passed[at]?.name ?? "")}`);
  const count = names.column(view, "amount");
  items.push(`count(*) AS ${quote(count)}`);
  view.columns.push({
    ...{
      name: count,
      sql: "bigint",
      kind: "bigint",
      keyType: null,
      notNull: false,
      generated: null,
      domain: [],
      external: false,
    },
  });
  const groups = columns.map((column) => `t.${quote(column.name)}`).join(", ");
  const having = chance(random, 30) ? " HAVING count(*) > 1" : "";
  setQuery(view, `SELECT ${items.join(", ")} FROM ${qualified(from)} t GROUP BY ${groups}${having}`);
  view.primaryKey = shuffled(random, passed);
  if (view.view !== null) view.view.keyIsUnique = true;
  join(random, graph, { view, columns: passed, target, targetColumns });
}

function setQuery(view: TableDraft, query: string): void {
  if (view.view !== null) view.view.query = query;
}

function join(
  random: Random,
  graph: Graph,
  { view, ...pairs }: Pick<ReferenceDraft, "columns" | "target" | "targetColumns"> & {
    readonly view: TableDraft;
  },
): void {
  if (chance(random, 15)) return;
  graph.references.push({ ...pairs, from: view, constraint: null, indexed: false });
}
