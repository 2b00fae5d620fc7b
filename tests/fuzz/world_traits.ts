/** What a world has, in a few words each. */
import { isConcurrent } from "./world_ddl.ts";
import { ancestors, nodesOf } from "./world_documents.ts";
import { type Graph, type NodeDraft, readsViews, type TableDraft } from "./world_drafts.ts";
import { fansOut } from "./world_edges.ts";

/** Of what the documents show, not of what was meant: a table that no document reaches adds nothing. */
export function traitsOf(graph: Graph, documents: readonly NodeDraft[]): string[] {
  const found = new Set<string>();
  const nodes = documents.flatMap(nodesOf);
  found.add(`${documents.length} documents`).add(
    `${graph.tables.filter((table) => table.view === null).length} tables`,
  );
  for (const node of nodes) for (const trait of nodeTraits(node)) found.add(trait);
  const usedTables = new Set(
    nodes.flatMap((node) => node.edge?.kind === "through" ? [node.table, node.edge.table] : [node.table]),
  );
  for (const table of usedTables) {
    if (table.view === null) { for (const trait of tableTraits(table)) found.add(trait); }
  }
  if (new Set([...usedTables].map((table) => table.schema)).size > 1) found.add("several schemas");
  if (new Set([...usedTables].map((table) => table.name)).size < usedTables.size) {
    found.add("same name in two schemas");
  }
  for (const root of documents) {
    const tables = nodesOf(root).map((node) => node.table);
    if (new Set(tables).size < tables.length) found.add("table twice in a tree");
  }
  if (
    documents.some((root, at) => documents.some((other, place) => place > at && other.table === root.table))
  ) {
    found.add("same root twice");
  }
  const trees = documents.map((root) => new Set(nodesOf(root).map((node) => node.table)));
  if (
    trees.some((tree, at) =>
      trees.some((other, place) => place > at && [...tree].some((table) => other.has(table)))
    )
  ) {
    found.add("table in several documents");
  }
  for (const table of usedTables) {
    const references = graph.references.filter((reference) => reference.from === table);
    const columns = references.flatMap((reference) => reference.columns);
    if (new Set(columns).size < columns.length) found.add("column in two references");
  }
  return [...found].toSorted();
}

function* nodeTraits(node: NodeDraft): Generator<string> {
  yield `depth ${ancestors(node).length}`;
  const { edge, table } = node;
  yield node.columns === null ? "all columns" : "column subset";
  if (node.columns?.some((entry) => /->|#>/.test(entry))) yield "JSON path";
  if (node.json["label"] === null) yield "label null";
  else if (node.json["label"] !== undefined) yield "label";
  if (node.json["transform"] !== undefined) yield "rename";
  const fields = node.columns ?? table.columns.map((column) => column.name);
  if (node.children.some((child) => fields.includes(String(child.json["label"] ?? child.table.name)))) {
    yield "label over a column";
  }
  for (const column of node.columns === null ? table.columns : node.named) yield `value ${column.kind}`;
  if (table.partitions !== null) yield node.parent === null ? "partitioned root" : "partitioned child";
  if (table.view !== null) {
    yield node.parent === null ? "view as root" : "view as child";
    yield `view: ${table.view.kind}`;
    if (table.primaryKey.length === 0) yield "view without key";
    else if (!table.view.keyIsUnique) {
      yield `view with a loose key as ${node.parent === null ? "root" : "child"}`;
    }
    if (readsViews(table.view)) yield "view over a view";
    if (table.view.materialized) yield `materialised view as ${node.parent === null ? "root" : "child"}`;
    if (isConcurrent(table)) yield "materialised view refreshed concurrently";
  }
  if (edge === null) return;
  if (node.scalar) yield node.many ? "scalars" : "scalar";
  const relationship: { readonly foreign_key?: unknown } = Object(node.json["relationship"]);
  const several = fansOut({ child: table, edge });
  if (edge.kind === "through") {
    const key = edge.table.primaryKey;
    const links = [...edge.toParent.columns, ...edge.toChild.columns];
    yield `link table with ${
      key.length === 0 ? "no" : key.every((column) => links.includes(column)) ? "composite" : "surrogate"
    } key`;
    if (!node.many) yield "one_to_one through a link table";
    if (edge.table.partitions !== null) yield "partitioned link table";
    if (edge.table.schema !== table.schema) yield "link table in another schema";
    return;
  }
  const { reference, direction } = edge;
  yield direction === "up" ? "key on parent" : "key on child";
  if (reference.from === reference.target) yield `self reference ${direction}`;
  if (!node.many && several) yield "one_to_one with several matches";
  if (!node.many && direction === "up") yield "one_to_one over key on parent";
  if (reference.constraint === null) yield "foreign_key without constraint";
  else if (relationship.foreign_key !== undefined) yield "foreign_key beside a constraint";
  if (reference.columns.length > 1) yield "composite reference";
  const places = reference.targetColumns.map((column) => reference.target.primaryKey.indexOf(column));
  if (places.length > 1 && places.some((place, at) => place !== at)) {
    yield "reference in other order than the key";
  }
  const keys = [reference.target.primaryKey, ...reference.target.uniques];
  const key = keys.findIndex((columns) =>
    columns.length === places.length && columns.every((column) => reference.targetColumns.includes(column))
  );
  if (key > 0) yield "reference to a unique constraint";
  if (key < 0) yield "join of values";
  if (reference.columns.some((column, at) => column.sql !== reference.targetColumns[at]?.sql)) {
    yield "reference of another type";
  }
  if (reference.columns.some((column) => reference.from.primaryKey.includes(column))) {
    yield "reference in the key";
  }
  if (!reference.indexed) yield "link without index";
  if (reference.constraint === null) return;
  const { onDelete, onUpdate, deferrable } = reference.constraint;
  yield `ON DELETE ${onDelete}`;
  yield `ON UPDATE ${onUpdate}`;
  if (deferrable) yield "deferrable constraint";
}

function* tableTraits(table: TableDraft): Generator<string> {
  const { primaryKey, partitions } = table;
  for (const column of primaryKey) yield `key ${column.kind}`;
  if (primaryKey.length === 0) yield "table without key";
  if (primaryKey.length > 1) yield "composite key";
  const places = primaryKey.map((column) => table.columns.indexOf(column));
  if (places.some((place, at) => at > 0 && place < (places[at - 1] ?? 0))) {
    yield "key in other order than its columns";
  }
  if (/[^a-z_0-9]/.test(table.name)) yield "quoted table";
  if (table.columns.some((column) => /[^a-z_0-9]/.test(column.name))) yield "quoted column";
  if (table.name.includes(".") || table.columns.some((column) => column.name.includes("."))) {
    yield "dotted name";
  }
  if (table.replicaIdentity !== null) yield `replica identity ${table.replicaIdentity} before`;
  if (partitions === null) return;
  yield `partition by ${partitions.strategy}`;
  if (partitions.bounds.includes("DEFAULT")) yield "default partition";
  if (partitions.attached) yield "attached partition";
  if (partitions.subdivided) yield "partition of a partition";
}
