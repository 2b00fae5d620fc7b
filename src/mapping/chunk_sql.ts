import { quoteLiteral, quoteQualified } from "../postgres/quote.ts";
import { columnSql, rowTextsSql } from "./node_sql.ts";
import { keyTextsSql, wholeKeySql } from "./root_rows_sql.ts";
import { keyIsUnique, type MappedDocument, type MappedNode } from "./tree.ts";

/** The part of the root table that a load statement reads. */
export type Chunk =
  | { readonly kind: "whole" }
  /** Pages `from` (inclusive) to `to` (exclusive), of every leaf partition; null: no bound. */
  | { readonly kind: "pages"; readonly from: number; readonly to: number | null }
  /** Primary keys after `from` up to and including `to`, as texts in the order of the primary key; null: no bound. */
  | { readonly kind: "keys"; readonly from: readonly string[] | null; readonly to: readonly string[] | null };

/** The chunk as a common table expression named `chunk`. Chunks of pages need a unique key: each would have its own first. */
export function chunkSql(document: MappedDocument, chunk: Exclude<Chunk, { kind: "whole" }>): string {
  const { root } = document;
  const whole = wholeKeySql(document);
  // All rows of a key are in one chunk of keys.
  const texts = keyTextsSql(document).join(", ");
  const [only, first] = keyIsUnique(root.relation)
    ? ["", ""]
    : [`DISTINCT ON (${texts}) `, `\n  ORDER BY ${[texts, ...rowTextsSql(root)].join(", ")}`];
  return `WITH chunk AS MATERIALIZED (
  SELECT ${only}${neededColumns(root).join(", ")}
  FROM ${quoteQualified(root.relation)} ${root.alias}
  WHERE ${[rangeSql(root, chunk), ...whole === null ? [] : [whole]].join(" AND ")}${first}
)`;
}

export function rangeSql(root: MappedNode, chunk: Exclude<Chunk, { kind: "whole" }>): string {
  return chunk.kind === "pages" ? pagesSql(root, chunk.from, chunk.to) : keyRangeSql(root, chunk);
}

function pagesSql(root: MappedNode, from: number, to: number | null): string {
  const ctid = `${root.alias}.ctid`;
  const lower = `${ctid} >= '(${from},0)'::pg_catalog.tid`;
  return to === null ? lower : `${lower} AND ${ctid} < '(${to},0)'::pg_catalog.tid`;
}

function keyRangeSql(
  root: MappedNode,
  chunk: { readonly from: readonly string[] | null; readonly to: readonly string[] | null },
): string {
  const { relation } = root;
  const columns = relation.primaryKey.map((name) => columnSql(root, name));
  const literals = (values: readonly string[]) =>
    values.map((value, index) => {
      const type = relation.columns.find((column) => column.name === relation.primaryKey[index])?.type.sql ??
        "text";
      return `${quoteLiteral(value)}::${type}`;
    });
  const bounds: string[] = [];
  if (chunk.from !== null) bounds.push(`(${columns.join(", ")}) > (${literals(chunk.from).join(", ")})`);
  if (chunk.to !== null) bounds.push(`(${columns.join(", ")}) <= (${literals(chunk.to).join(", ")})`);
  return bounds.length === 0 ? "true" : bounds.join(" AND ");
}

/** The root's columns that the statement reads after its chunk is picked, each qualified. */
export function neededColumns(root: MappedNode): string[] {
  const names = new Set(root.relation.primaryKey);
  for (const field of root.fields) names.add(field.column);
  for (const { link } of root.children) {
    if (link?.kind === "direct") { for (const pair of link.pairs) names.add(pair.parent); }
    if (link?.kind === "through") { for (const pair of link.toParent) names.add(pair.parent); }
  }
  return [...names].map((name) => columnSql(root, name));
}
