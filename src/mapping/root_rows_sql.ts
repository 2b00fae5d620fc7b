import { quoteQualified } from "../postgres/quote.ts";
import { idSql, keyTextSql } from "./id_sql.ts";
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

/**
 * The statement that counts the rows of the root that give no document: `nameless`, in whose key there is a NULL; `repeated`,
 * whose key another row has; `example`, an `_id` that more than one row has. Null where all rows give documents.
 */
export function leftOutSql(document: MappedDocument): string | null {
  const { root, key } = document;
  const whole = wholeKeySql(document);
  if (whole === null) return null;
  const table = `${quoteQualified(root.relation)} ${root.alias}`;
  if (keyIsUnique(root.relation)) {
    return `SELECT pg_catalog.count(*) AS nameless, 0::pg_catalog.int8 AS repeated, NULL::pg_catalog.text AS example
FROM ${table}
WHERE NOT (${whole})`;
  }
  const id = idSql(key.map((column) => ({ column, sql: columnSql(root, column.name) })));
  return `SELECT
  coalesce(pg_catalog.sum(k.rows) FILTER (WHERE k.id IS NULL), 0) AS nameless,
  coalesce(pg_catalog.sum(k.rows - 1) FILTER (WHERE k.id IS NOT NULL), 0) AS repeated,
  pg_catalog.min(k.id) FILTER (WHERE k.id IS NOT NULL AND k.rows > 1) AS example
FROM (
  SELECT CASE WHEN ${whole} THEN ${id} END AS id, pg_catalog.count(*) AS rows
  FROM ${table}
  GROUP BY 1
) k`;
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
