import { columnsNamed } from "../catalog/columns.ts";
import type { Column, Relation } from "../catalog/types.ts";
import { PgsyncError } from "../errors/error.ts";
import { quoteIdentifier, quoteQualified } from "../postgres/quote.ts";
import { equalSql, type Side } from "./equal_sql.ts";
import { formatName, formatPlace } from "./fields.ts";
import { keyTextSql } from "./id_sql.ts";
import { keyRowsSql } from "./key_rows_sql.ts";
import { throughAlias } from "./node_sql.ts";
import { wholeKeySql } from "./root_rows_sql.ts";
import { isView, type MappedDocument, type MappedNode } from "./tree.ts";
import type { BaseTable } from "./view_sources.ts";

/**
 * One way in which the rows of a table bear on a document: as its root, as a node below it, as a link row, or by way of a
 * plain view in one of these places.
 *
 * Every edge of the tree is stored in exactly one row. A row event marks the documents that are reached upward from the
 * row's OLD and NEW link values, over the tables as they are now; if an edge further up has changed meanwhile, that
 * edge's own event marks its old and its new side. So by induction every document that could differ is marked.
 */
export interface ChangeSource {
  readonly document: MappedDocument;
  /** The node whose row it is; for a link row, the node that it links to its parent. */
  readonly node: MappedNode;
  readonly role: "root" | "node" | "link";
  /** The table whose row events matter. */
  readonly relation: Relation;
  /**
   * What a changed row touches. `linked`: the documents that its link values lead to. `any`: nobody knows which, so all
   * documents are compared (a table below a view, of which it cannot be told).
   */
  readonly touches: "linked" | "any";
  /** The columns whose old and new values lead to the root; none where it touches any. */
  readonly linkColumns: readonly Column[];
  /** An UPDATE that leaves all of these as they are changes no document. */
  readonly usedColumns: ReadonlySet<string>;
  /**
   * The statement that turns link values into root keys: its parameters are arrays, one for each link column, its
   * columns the key columns in the order of `MappedDocument.key`, as text. Null where the link values are the root key
   * itself.
   */
  readonly sql: string | null;
}

/**
 * All ways in which changes bear on a document.
 *
 * @throws PgsyncError SCHEMA_UNSUPPORTED where a link column is generated
 */
export function changeSources(document: MappedDocument): ChangeSource[] {
  const sources = sourcesOf(document);
  for (const { node, relation, linkColumns } of sources) {
    const generated = linkColumns.find((column) => column.generated);
    if (generated !== undefined) throw generatedLink(node, relation, generated);
  }
  return sources;
}

/** The stream carries no generated columns, so neither the old value nor the new one would be known. */
function generatedLink(node: MappedNode, relation: Relation, column: Column): PgsyncError {
  return new PgsyncError(
    "SCHEMA_UNSUPPORTED",
    `Column "${column.name}" of ${
      formatName(relation)
    }, which tells to which document a row of the node at ` +
      `${formatPlace(node.schema.place)} belongs, is generated, and PostgreSQL streams no generated columns.`,
    { remedy: "Join the node by plain columns (relationship.foreign_key), or make the column a plain one." },
  );
}

function sourcesOf(document: MappedDocument): ChangeSource[] {
  return document.nodes.flatMap((node) => {
    const { link, parent } = node;
    // Of a materialised view the stream tells nothing: whoever refreshes it has its documents compared.
    if (isView(node.relation)) return node.baseTables.map((table) => viewSource(document, node, table));
    if (link === null || parent === null) return [rootSource(document)];
    if (link.kind === "direct") {
      const above = link.pairs.map((pair) => pair.parent);
      const columns = link.pairs.map((pair) => pair.child);
      const used = usedColumns(node, columns);
      return [source(document, node, "node", node.relation, columns, used, parent, above)];
    }
    const toParent = link.toParent.map((pair) => pair.link);
    const above = link.toParent.map((pair) => pair.parent);
    return [
      source(document, node, "link", link.table, toParent, linkUsedColumns(node, link.table), parent, above),
      throughSource(document, node, parent),
    ];
  });
}

function rootSource(document: MappedDocument): ChangeSource {
  const { root, key } = document;
  return {
    document,
    node: root,
    role: "root",
    relation: root.relation,
    touches: "linked",
    linkColumns: key,
    usedColumns: usedColumns(root, key.map((column) => column.name)),
    sql: null,
  };
}

/** Rows whose own columns equal columns of the parent: a child's, or a link table's towards the root. */
function source(
  document: MappedDocument,
  node: MappedNode,
  role: "node" | "link",
  relation: Relation,
  columns: readonly string[],
  used: ReadonlySet<string>,
  parent: MappedNode,
  above: readonly string[],
): ChangeSource {
  const inKeyOrder = parent.parent === null ? keyOrder(document, relation, columns, above) : null;
  const common = { document, node, role, relation, touches: "linked", usedColumns: used } as const;
  if (inKeyOrder !== null) return { ...common, linkColumns: inKeyOrder, sql: null };
  const linkColumns = columnsNamed(relation, columns);
  const on = linkColumns.map((column, index) =>
    equalSql(
      side(parent.relation, parent.alias, above[index] ?? ""),
      { relation, column: column.name, sql: `k.k${index + 1}` },
    )
  ).join(" AND ");
  const join = `JOIN ${quoteQualified(parent.relation)} ${parent.alias} ON ${on}`;
  return { ...common, linkColumns, sql: statement(document, linkColumns, [join, ...climb(parent)]) };
}

/**
 * Rows of a table that a plain view reads. Where the view passes on all columns that link it (at the root: its key), and a row
 * touches no other view rows than those that hold its values, the row leads to documents as if it were the view's own.
 */
function viewSource(document: MappedDocument, node: MappedNode, table: BaseTable): ChangeSource {
  const { link, parent } = node;
  const { relation, passed } = table;
  const wanted = link === null
    ? document.key.map((column) => column.name)
    : link.kind === "direct"
    ? link.pairs.map((pair) => pair.child)
    : [];
  const columns = wanted.flatMap((name) => passed.get(name) ?? []);
  const linkColumns = columnsNamed(relation, columns);
  // Where GROUP BY or DISTINCT joins values that are equal and print differently, the row's own need not be shown.
  const certain = wanted.length > 0 && columns.length === wanted.length &&
    linkColumns.every((column) => column.type.equalityIsIdentity && !column.generated);
  const used = new Set(table.used ?? relation.columns.map((column) => column.name));
  if (!certain) {
    return {
      document,
      node,
      role: link === null ? "root" : "node",
      relation,
      touches: "any",
      linkColumns: [],
      usedColumns: used,
      sql: null,
    };
  }
  for (const column of columns) used.add(column);
  if (link?.kind !== "direct" || parent === null) {
    return {
      document,
      node,
      role: "root",
      relation,
      touches: "linked",
      linkColumns,
      usedColumns: used,
      sql: null,
    };
  }
  return source(
    document,
    node,
    "node",
    relation,
    columns,
    used,
    parent,
    link.pairs.map((pair) => pair.parent),
  );
}

/** Rows on the far side of a link table. */
function throughSource(document: MappedDocument, node: MappedNode, parent: MappedNode): ChangeSource {
  const { link } = node;
  if (link?.kind !== "through") throw new RangeError(`node ${node.path} has no link table`);
  const columns = link.toChild.map((pair) => pair.child);
  const linkColumns = columnsNamed(node.relation, columns);
  const through = throughAlias(node);
  const on = link.toChild.map((pair, index) =>
    equalSql(
      side(link.table, through, pair.link),
      { relation: node.relation, column: pair.child, sql: `k.k${index + 1}` },
    )
  ).join(" AND ");
  const first = `JOIN ${quoteQualified(link.table)} ${through} ON ${on}`;
  return {
    document,
    node,
    role: "node",
    relation: node.relation,
    touches: "linked",
    linkColumns,
    usedColumns: usedColumns(node, columns),
    sql: statement(document, linkColumns, [first, joinParentToLink(node, parent), ...climb(parent)]),
  };
}

/** The joins from a node's rows up to the root. */
function climb(node: MappedNode): string[] {
  const { link, parent } = node;
  if (link === null || parent === null) return [];
  if (link.kind === "direct") {
    const on = link.pairs
      .map((pair) =>
        equalSql(
          side(parent.relation, parent.alias, pair.parent),
          side(node.relation, node.alias, pair.child),
        )
      )
      .join(" AND ");
    return [`JOIN ${quoteQualified(parent.relation)} ${parent.alias} ON ${on}`, ...climb(parent)];
  }
  const through = throughAlias(node);
  const on = link.toChild
    .map((pair) =>
      equalSql(side(link.table, through, pair.link), side(node.relation, node.alias, pair.child))
    )
    .join(" AND ");
  return [
    `JOIN ${quoteQualified(link.table)} ${through} ON ${on}`,
    joinParentToLink(node, parent),
    ...climb(parent),
  ];
}

function joinParentToLink(node: MappedNode, parent: MappedNode): string {
  const { link } = node;
  if (link?.kind !== "through") throw new RangeError(`node ${node.path} has no link table`);
  const through = throughAlias(node);
  const on = link.toParent
    .map((pair) =>
      equalSql(side(parent.relation, parent.alias, pair.parent), side(link.table, through, pair.link))
    )
    .join(" AND ");
  return `JOIN ${quoteQualified(parent.relation)} ${parent.alias} ON ${on}`;
}

function statement(
  document: MappedDocument,
  linkColumns: readonly Column[],
  joins: readonly string[],
): string {
  const { root, key } = document;
  const keys = key
    .map((column) => ({ column, sql: `${root.alias}.${quoteIdentifier(column.name)}` }))
    .map((part, index) => `${keyTextSql(part)} AS r${index + 1}`)
    .join(", ");
  // A row of a view without a whole key is no document.
  const whole = wholeKeySql(document);
  return `SELECT DISTINCT ${keys}
FROM ${keyRowsSql(linkColumns)}
${joins.join("\n")}${whole === null ? "" : `\nWHERE ${whole}`}`;
}

/**
 * Where the link columns refer to exactly the root key and print alike, their values are root keys: the columns in the
 * order of the key. Otherwise null.
 */
function keyOrder(
  document: MappedDocument,
  relation: Relation,
  columns: readonly string[],
  above: readonly string[],
): Column[] | null {
  if (above.length !== document.key.length) return null;
  const ordered: Column[] = [];
  for (const keyColumn of document.key) {
    const name = columns[above.indexOf(keyColumn.name)];
    if (name === undefined) return null;
    const [column] = columnsNamed(relation, [name]);
    const alike = column !== undefined && column.type.sql === keyColumn.type.sql &&
      keyColumn.type.equalityIsIdentity;
    if (!alike) return null;
    ordered.push(column);
  }
  return ordered;
}

/** The columns of a node's row that a document can show or depend on: fields, links, and the order of its siblings. */
function usedColumns(node: MappedNode, linkColumns: readonly string[]): ReadonlySet<string> {
  const used = new Set([...linkColumns, ...node.relation.primaryKey]);
  for (const field of node.fields) used.add(field.column);
  for (const { link } of node.children) {
    if (link?.kind === "direct") { for (const pair of link.pairs) used.add(pair.parent); }
    if (link?.kind === "through") { for (const pair of link.toParent) used.add(pair.parent); }
  }
  if (node.parent !== null && node.relation.primaryKey.length === 0) {
    for (const column of node.relation.columns) used.add(column.name);
  }
  return used;
}

function linkUsedColumns(node: MappedNode, table: Relation): ReadonlySet<string> {
  const used = new Set(table.primaryKey);
  if (node.link?.kind === "through") {
    for (const pair of node.link.toParent) used.add(pair.link);
    for (const pair of node.link.toChild) used.add(pair.link);
  }
  return used;
}

function side(relation: Relation, alias: string, column: string): Side {
  return { relation, column, sql: `${alias}.${quoteIdentifier(column)}` };
}
