import { quoteQualified } from "../postgres/quote.ts";
import { equalSql } from "./equal_sql.ts";
import { isArray, orderSql, side, throughAlias, valueSql } from "./node_sql.ts";
import type { MappedNode } from "./tree.ts";

/** The SQL expression of a node's object, its children gathered by a subquery each. */
export function correlatedObject(node: MappedNode): string {
  return valueSql(node, (child) => correlatedChild(child, node));
}

function correlatedChild(child: MappedNode, parent: MappedNode): string {
  const value = correlatedObject(child);
  const table = `${quoteQualified(child.relation)} ${child.alias}`;
  const { link } = child;
  if (link === null) throw new RangeError(`node ${child.path} has a parent, but no link to it`);
  if (link.kind === "through") {
    const through = throughAlias(child);
    const toChild = link.toChild.map((pair) =>
      equalSql(side(link.table, through, pair.link), side(child.relation, child.alias, pair.child))
    );
    const toParent = link.toParent.map((pair) =>
      equalSql(side(link.table, through, pair.link), side(parent.relation, parent.alias, pair.parent))
    );
    return `(SELECT pg_catalog.json_agg(${value} ORDER BY ${orderSql(child)}) FROM ${
      quoteQualified(link.table)
    } ${through} ` +
      `JOIN ${table} ON ${toChild.join(" AND ")} WHERE ${toParent.join(" AND ")})`;
  }
  const where = link.pairs.map((pair) =>
    equalSql(side(child.relation, child.alias, pair.child), side(parent.relation, parent.alias, pair.parent))
  ).join(" AND ");
  if (isArray(child)) {
    return `(SELECT pg_catalog.json_agg(${value} ORDER BY ${orderSql(child)}) FROM ${table} WHERE ${where})`;
  }
  const first = link.unique ? "" : ` ORDER BY ${orderSql(child)} LIMIT 1`;
  return `(SELECT ${value} FROM ${table} WHERE ${where}${first})`;
}
