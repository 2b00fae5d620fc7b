import { quoteQualified } from "../postgres/quote.ts";
import { keyTextSql } from "./id_sql.ts";
import { columnSql, rowTextsSql } from "./node_sql.ts";
import { isView, keyIsUnique, type MappedDocument } from "./tree.ts";

/**
 * Which rows of the root give documents. Those of a table all do. The key of a view is only what the schema file says: rows in
 * which a part of it is NULL have no `_id` and give none; of several rows with one `_id` the first does, in the order
 * of their columns' texts. So every statement makes the same document of the same rows.
 */

/** The texts of the root's key, in the order of `MappedDocument.key`. */
export function keyTextsSql({ root, key }: MappedDocument): string[] {
  return key.map((column) => keyTextSql({ column, sql: columnSql(root, column.name) }));
}

/** That the root's key is whole; null where it always is. */
export function wholeKeySql({ root, key }: MappedDocument): string | null {
  if (!isView(root.relation)) return null;
  return key.map((column) => `${columnSql(root, column.name)} IS NOT NULL`).join(" AND ");
}

/** All rows that give documents, as an item of a FROM clause under the root's alias. */
export function rootRowsSql(document: MappedDocument): string {
  const { root } = document;
  const rows = `${quoteQualified(root.relation)} ${root.alias}`;
  const whole = wholeKeySql(document);
  if (whole === null) return rows;
  if (keyIsUnique(root.relation)) return `(SELECT * FROM ${rows} WHERE ${whole}) ${root.alias}`;
  const texts = keyTextsSql(document).join(", ");
  return `(
  SELECT DISTINCT ON (${texts}) ${root.alias}.*
  FROM ${rows}
  WHERE ${whole}
  ORDER BY ${[texts, ...rowTextsSql(root)].join(", ")}
) ${root.alias}`;
}
