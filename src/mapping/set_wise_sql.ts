import { quoteIdentifier, quoteQualified } from "../postgres/quote.ts";
import { collationsConflict, comparedSql, equalSql, ownEquals } from "./equal_sql.ts";
import { isArray, orderSql, side, throughAlias, valueSql } from "./node_sql.ts";
import type { MappedNode } from "./tree.ts";

/** Below this many rows a table is aggregated whole: to pick out the rows of a chunk first would cost more. */
const WORTH_RESTRICTING = 20_000;

/** An expression and the joins (each on a line of its own) that it needs behind the FROM of its node. */
export interface JoinedValue {
  readonly value: string;
  readonly joins: string;
}

/**
 * The SQL expression of a node's object, its children aggregated by their link columns and joined.
 *
 * @param restricted only the rows that a common table expression named `chunk` reaches, where that pays
 */
export function setWiseObject(node: MappedNode, restricted: boolean): JoinedValue {
  const joins: string[] = [];
  const value = valueSql(node, (child) => {
    const joined = setWiseChild(child, node, restricted);
    joins.push(joined.joins);
    return joined.value;
  });
  return { value, joins: joins.map((join) => `\n${join}`).join("") };
}

function setWiseChild(child: MappedNode, parent: MappedNode, restricted: boolean): JoinedValue {
  const { link } = child;
  if (link === null) throw new RangeError(`node ${child.path} has a parent, but no link to it`);
  const { value, joins } = setWiseObject(child, restricted);
  const table = `${quoteQualified(child.relation)} ${child.alias}${indent(joins)}`;
  const group = `g${child.alias}`;
  const through = throughAlias(child);

  // The link columns on the child's side of the edge, and those of the parent that they equal.
  const edge = link.kind === "through"
    ? link.toParent.map((pair) => ({ near: side(link.table, through, pair.link), far: pair.parent }))
    : link.pairs.map((pair) => ({ near: side(child.relation, child.alias, pair.child), far: pair.parent }));
  const near = edge.map((pair) => pair.near.sql);
  const far = edge.map((pair) => pair.far);
  const compared = edge.map((pair) =>
    comparedSql(pair.near, { relation: parent.relation, column: pair.far })
  );
  const keys = compared.map((column, index) => `${column} AS k${index + 1}`).join(", ");

  const from = link.kind === "through"
    ? `${quoteQualified(link.table)} ${through} JOIN ${table} ON ${
      link.toChild.map((pair) =>
        equalSql(side(link.table, through, pair.link), side(child.relation, child.alias, pair.child))
      )
        .join(" AND ")
    }`
    : table;
  const rows = link.kind === "through" ? link.table.estimatedRows : child.relation.estimatedRows;
  const where = restricted && (parent.parent === null || rows >= WORTH_RESTRICTING) && canRestrict(child)
    ? `\n  WHERE ${rowSql(near)} IN (${linkValuesSql(parent, far)})`
    : "";

  const grouped = isArray(child)
    ? `SELECT ${keys}, pg_catalog.json_agg(${value} ORDER BY ${orderSql(child)}) AS v
  FROM ${from}${where}
  GROUP BY ${compared.join(", ")}`
    : link.kind === "direct" && link.unique
    ? `SELECT ${keys}, ${value} AS v
  FROM ${from}${where}`
    : `SELECT DISTINCT ON (${compared.join(", ")}) ${keys}, ${value} AS v
  FROM ${from}${where}
  ORDER BY ${compared.join(", ")}, ${orderSql(child)}`;
  const on = edge.map((pair, index) =>
    equalSql({ ...pair.near, sql: `${group}.k${index + 1}` }, side(parent.relation, parent.alias, pair.far))
  ).join(" AND ");
  return { value: `${group}.v`, joins: `LEFT JOIN (\n  ${grouped}\n) ${group} ON ${on}` };
}

/** The values that a parent's link columns have in the rows that the chunk reaches. */
function linkValuesSql(parent: MappedNode, columns: readonly string[]): string {
  const inner = `${parent.alias}r`;
  const list = columns.map((column) => `${inner}.${quoteIdentifier(column)}`).join(", ");
  if (parent.parent === null) return `SELECT ${list} FROM chunk ${inner}`;
  const { link } = parent;
  if (link === null) throw new RangeError(`node ${parent.path} has a parent, but no link to it`);
  if (link.kind === "direct") {
    const near = link.pairs.map((pair) => `${inner}.${quoteIdentifier(pair.child)}`);
    const above = linkValuesSql(parent.parent, link.pairs.map((pair) => pair.parent));
    return `SELECT ${list} FROM ${quoteQualified(parent.relation)} ${inner} WHERE ${
      rowSql(near)
    } IN (${above})`;
  }
  const through = `${throughAlias(parent)}r`;
  const near = link.toParent.map((pair) => `${through}.${quoteIdentifier(pair.link)}`);
  const on = link.toChild
    .map((pair) => equalSql(side(link.table, through, pair.link), side(parent.relation, inner, pair.child)))
    .join(" AND ");
  const above = linkValuesSql(parent.parent, link.toParent.map((pair) => pair.parent));
  return `SELECT ${list} FROM ${quoteQualified(link.table)} ${through} JOIN ${
    quoteQualified(parent.relation)
  } ${inner} ` +
    `ON ${on} WHERE ${rowSql(near)} IN (${above})`;
}

/**
 * Whether `IN` compares the link columns from the root down as their types do: it takes no operator, so it cannot be
 * told to use one that the search path hides.
 */
function canRestrict(node: MappedNode): boolean {
  const { link, parent } = node;
  if (link === null || parent === null) return true;
  const pairs = link.kind === "direct"
    ? link.pairs.map((pair) => ({ near: { relation: node.relation, column: pair.child }, far: pair.parent }))
    : link.toParent.map((pair) => ({ near: { relation: link.table, column: pair.link }, far: pair.parent }));
  return pairs.every(({ near, far }) =>
    ownEquals(near) === undefined && !collationsConflict(near, { relation: parent.relation, column: far })
  ) && canRestrict(parent);
}

/** One column, or a row of several. */
function rowSql(columns: readonly string[]): string {
  return columns.length === 1 ? columns.join() : `(${columns.join(", ")})`;
}

function indent(text: string): string {
  return text.replaceAll("\n", "\n  ");
}
