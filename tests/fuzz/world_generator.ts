/**
 * Makes worlds: tables as wild as those that people have, and schema files over them that the product accepts. What
 * there is to be had is listed in `world_generator.test.ts`, which sees to it that all of it occurs.
 */
import { pick, seededRandom } from "../support/random.ts";
import type { World, WorldPartitioning, WorldTable } from "./world.ts";
import { isConcurrent, partitionName, statements } from "./world_ddl.ts";
import { makeDocuments, nodesOf } from "./world_documents.ts";
import { type ColumnDraft, type Graph, literal, type NodeDraft, type TableDraft } from "./world_drafts.ts";
import { Names } from "./world_names.ts";
import { insertable } from "./world_references.ts";
import { makeGraph } from "./world_tables.ts";
import { traitsOf } from "./world_traits.ts";

/** The world of a seed: always the same one. */
export function makeWorld(seed: number): World {
  const random = seededRandom(seed);
  const names = new Names(random, pick(random, [0, 15, 15, 40, 80]));
  const graph = makeGraph(random, names);
  const documents = makeDocuments(random, graph);
  for (const root of documents) refuseEmptyIds(root.table, graph);
  const followed = new Set(documents.flatMap(nodesOf).map((node) => node.table));
  for (const table of followed) for (const source of table.view?.sources ?? []) followed.add(source);
  const ddl = statements(random, graph);
  const ordered = insertable(graph).filter((table) => table.view === null);
  return {
    seed,
    ddl,
    tables: ordered.map((table) => worldTable(table, graph, ordered, documents)),
    materialized: graph.tables.filter((table) => table.view?.materialized).map((table) => ({
      schema: table.schema,
      name: table.name,
      query: table.view?.query ?? "",
      followed: followed.has(table),
      concurrently: isConcurrent(table),
    })),
    schema: (database, indexName) =>
      documents.map((root, place) => ({ database, index: indexName(place), nodes: root.json })),
    traits: traitsOf(graph, documents),
  };
}

/**
 * The search engine takes no empty `_id`: such a row becomes a dead letter, which other tests look at. A key that refers
 * to another gets its values from there, too.
 */
function refuseEmptyIds(root: TableDraft, graph: Graph): void {
  const [only, ...others] = root.primaryKey;
  if (only === undefined || others.length > 0) return;
  const sources = new Set([only]);
  for (const column of sources) {
    column.domain = column.domain.filter((value) => value !== literal(column.sql, ""));
    if (column.of !== undefined) sources.add(column.of);
    for (const { columns, targetColumns } of graph.references) {
      const target = targetColumns[columns.indexOf(column)];
      if (target !== undefined) sources.add(target);
    }
  }
}

function worldTable(
  table: TableDraft,
  graph: Graph,
  ordered: readonly TableDraft[],
  documents: readonly NodeDraft[],
): WorldTable {
  const references = graph.references.filter((reference) => reference.from === table);
  const nodes = documents.flatMap(nodesOf).filter((node) => node.table === table);
  const used = new Set<ColumnDraft | undefined>([
    ...table.primaryKey,
    ...table.uniques.flat(),
    ...references.flatMap((reference) => reference.columns),
    ...graph.references.filter((reference) => reference.target === table).flatMap((reference) =>
      reference.targetColumns
    ),
    ...nodes.flatMap((node) => node.named),
    table.partitions?.column,
    // Whatever a view reads of it: a condition's column is not told from others.
    ...(graph.tables.some((other) => other.view?.tables.includes(table)) ? table.columns : []),
    ...table.columns.filter((column) => table.columns.some((other) => isMadeOf(other, column))),
  ]);
  // A column to be renamed in a document is named by the schema file, too.
  const renamed = new Set(nodes.flatMap((node) => renamesOf(node)));
  return {
    schema: table.schema,
    name: table.name,
    columns: table.columns.map((column) => ({
      name: column.name,
      type: column.sql,
      use: table.primaryKey.includes(column)
        ? "key"
        : references.some((reference) => reference.columns.includes(column))
        ? "link"
        : "value",
      notNull: column.notNull,
      generated: column.generated !== null,
      domain: column.domain,
      droppable: !used.has(column) && !renamed.has(column.name),
    })),
    primaryKey: table.primaryKey.map((column) => column.name),
    uniques: table.uniques.map((columns) => columns.map((column) => column.name)),
    references: references.filter(({ target }) => target.view === null).map((
      { columns, target, targetColumns, constraint },
    ) => ({
      columns: columns.map((column) => column.name),
      target: ordered.indexOf(target),
      targetColumns: targetColumns.map((column) => column.name),
      constraint,
    })),
    partitioning: partitioningOf(table),
    showsAllColumns: nodes.some((node) => node.columns === null),
  };
}

function partitioningOf(table: TableDraft): WorldPartitioning | null {
  if (table.partitions === null) return null;
  const { column, strategy, bounds } = table.partitions;
  const parts = bounds.map((bound, at) => ({ name: partitionName(table, at), bound }));
  return { column: column.name, strategy, parts };
}

/** The generated column's expression names the other one. */
function isMadeOf(generated: ColumnDraft, column: ColumnDraft): boolean {
  return generated.generated?.includes(`"${column.name.replaceAll('"', '""')}"`) ?? false;
}

function renamesOf(node: NodeDraft): string[] {
  const transform: { readonly rename?: object } = Object(node.json["transform"]);
  return Object.keys(transform.rename ?? {});
}
