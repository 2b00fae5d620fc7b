/** The tables of a world and what joins them. */
import { between, chance, pick, type Random, shuffled } from "../support/random.ts";
import type { ColumnDraft, Graph, TableDraft } from "./world_drafts.ts";
import { choosePartitions } from "./world_partitions.ts";
import type { Names } from "./world_names.ts";
import { addReference, addValueJoin, keysOf } from "./world_references.ts";
import { addViews } from "./world_views.ts";
import { keyColumn, largeColumn, newKeyType, valueColumn } from "./world_types.ts";

/** 2 to 7 tables, all joined to each other by some way. */
export function makeGraph(random: Random, names: Names): Graph {
  const schemas = ["public"];
  for (let extra = pick(random, [0, 0, 1, 1, 2]); extra > 0; extra--) schemas.push(names.schema());
  const graph: Graph = { schemas, types: [], tables: [], references: [] };
  const count = between(random, 2, 7);
  addEntity(random, graph, names, null);
  while (graph.tables.length < count) {
    const entities = graph.tables.filter((table) => !table.joins && keysOf(table).length > 0);
    if (entities.length >= 2 && chance(random, 35)) addLinkTable(random, graph, names, entities);
    else addEntity(random, graph, names, pick(random, entities));
  }
  addExtraReferences(random, graph, names);
  for (const table of graph.tables) finish(random, names, table);
  if (chance(random, 30)) {
    const table = pick(random, graph.tables);
    table.columns.push(largeColumn(names.column(table)));
    table.columns = shuffled(random, table.columns);
  }
  addViews(random, graph, names);
  return graph;
}

function newTable(random: Random, graph: Graph, names: Names, joins: boolean): TableDraft {
  const schema = pick(random, graph.schemas);
  const namesake = graph.tables.find((table) =>
    table.schema !== schema && (!joins || !table.name.includes("."))
  );
  // A link table's name and schema are told apart by a dot.
  const name = (namesake !== undefined && chance(random, 25) ? names.again(schema, namesake.name) : null) ??
    names.table(schema, !joins);
  const table: TableDraft = {
    ...{ schema, name, joins, columns: [], primaryKey: [], uniques: [], partitions: null },
    replicaIdentity: chance(random, 8) ? pick(random, ["FULL", "NOTHING"] as const) : null,
    view: null,
  };
  graph.tables.push(table);
  return table;
}

/** A table of things, joined to an earlier one in either direction. */
function addEntity(random: Random, graph: Graph, names: Names, other: TableDraft | null): void {
  const table = newTable(random, graph, names, false);
  const keyless = other !== null && chance(random, 12);
  const refersUp = other !== null && (keyless || chance(random, 60));
  const identifying = refersUp && !keyless && chance(random, 25);
  if (!keyless) {
    const own = identifying ? pick(random, [0, 1, 1]) : pick(random, [1, 1, 1, 2, 2, 3]);
    for (let at = 0; at < own; at++) table.primaryKey.push(addKeyColumn(random, graph, names, table, "id"));
  }
  if (chance(random, 25)) {
    const unique = Array.from(
      { length: pick(random, [1, 1, 2]) },
      () => addKeyColumn(random, graph, names, table, "code", chance(random, 50)),
    );
    table.uniques.push(unique);
  }
  if (other === null) return;
  if (refersUp) {
    const reference = addReference(random, graph, names, table, other, {
      constraint: chance(random, 80),
      identifying,
    });
    if (identifying) {
      table.primaryKey.push(...reference.columns.filter((column) => !table.primaryKey.includes(column)));
    }
  } else {
    addReference(random, graph, names, other, table, { constraint: chance(random, 80), identifying: false });
  }
  table.primaryKey = shuffled(random, table.primaryKey);
}

function addKeyColumn(
  random: Random,
  graph: Graph,
  names: Names,
  table: TableDraft,
  plain: string,
  notNull = true,
): ColumnDraft {
  const column = keyColumn(names.column(table, plain), newKeyType(random, graph, names), notNull);
  table.columns.push(column);
  return column;
}

/** A table of pairs, with a key of its own, with the pairs as its key, or with none. */
function addLinkTable(random: Random, graph: Graph, names: Names, entities: readonly TableDraft[]): void {
  const table = newTable(random, graph, names, true);
  const [left, right] = shuffled(random, entities);
  // Both sides may be the same table: then it is a node of its own, for nothing says which side is whose.
  const sides = left !== undefined && right !== undefined && chance(random, 90)
    ? [left, right]
    : [left, left];
  const key = pick(random, ["surrogate", "composite", "none"]);
  const references = sides.flatMap((side) =>
    side === undefined ? [] : [addReference(random, graph, names, table, side, {
      constraint: true,
      identifying: key === "composite",
    })]
  );
  if (key === "composite") {
    table.primaryKey = shuffled(random, [...new Set(references.flatMap((reference) => reference.columns))]);
  } else if (key === "surrogate") {
    table.primaryKey = [addKeyColumn(random, graph, names, table, "id")];
  }
}

/** More ways between the tables: to themselves, a second one beside the first, back again, or by values that nobody guards. */
function addExtraReferences(random: Random, graph: Graph, names: Names): void {
  const entities = graph.tables.filter((table) => !table.joins);
  for (let extra = pick(random, [0, 1, 1, 2, 3]); extra > 0; extra--) {
    const from = pick(random, entities);
    const keyed = entities.filter((table) => keysOf(table).length > 0);
    const choice = random.below(10);
    if (choice < 3 && keysOf(from).length > 0) {
      addReference(random, graph, names, from, from, { constraint: chance(random, 75), identifying: false });
    } else if (choice < 8) {
      const target = pick(random, keyed);
      addReference(random, graph, names, from, target, {
        constraint: chance(random, 70),
        identifying: false,
      });
    } else {
      addValueJoin(random, graph, names, from, pick(random, entities));
    }
  }
}

/** Values, and the columns in an order of their own. */
function finish(random: Random, names: Names, table: TableDraft): void {
  const count = table.joins ? pick(random, [0, 0, 1]) : between(random, 1, 5);
  for (let at = 0; at < count; at++) table.columns.push(valueColumn(random, names.column(table)));
  if (!table.joins && chance(random, 25)) {
    table.columns.push(valueColumn(random, names.column(table, "doc"), pick(random, ["json", "jsonb"])));
  }
  if (chance(random, 70)) table.columns = shuffled(random, table.columns);
  const whole = table.columns.find((column) => column.sql === "int");
  const text = table.columns.find((column) => ["text", "varchar(20)"].includes(column.sql));
  const source = pick(random, [whole, text]);
  if (source !== undefined && chance(random, 20)) {
    const name = names.column(table, "made");
    const quoted = `"${source.name.replaceAll('"', '""')}"`;
    const [sql, generated] = source.sql === "int"
      ? ["bigint", `${quoted}::bigint * 2`]
      : ["text", `upper(${quoted}) || '!'`];
    table.columns.push({
      ...{
        name,
        sql,
        kind: "generated",
        keyType: null,
        notNull: false,
        generated,
        domain: [],
        external: false,
      },
    });
  }
  table.partitions = choosePartitions(random, table);
}
