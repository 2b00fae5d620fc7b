import { quoteIdentifier, quoteQualified } from "../postgres/quote.ts";
import { type Chunk, chunkSql, neededColumns, rangeSql } from "./chunk_sql.ts";
import { correlatedObject } from "./correlated_sql.ts";
import { idSql, keyTextSql } from "./id_sql.ts";
import { keyRowsSql } from "./key_rows_sql.ts";
import { columnSql, rowTextsSql } from "./node_sql.ts";
import { keyTextsSql, rootRowsSql, wholeKeySql } from "./root_rows_sql.ts";
import { setWiseObject } from "./set_wise_sql.ts";
import { isView, keyIsUnique, type MappedDocument } from "./tree.ts";

/**
 * The statements that make documents. Each gives two columns, `id` and `document` (JSON text; null where the root row is
 * missing, which only the form for keys can meet).
 *
 * Children are gathered in one of two ways, which give the same documents:
 * - correlated: a subquery in the place of each value. It suits a handful of keys: a few index look-ups each.
 * - set-wise: each child table is aggregated once by its link columns, then joined. It suits chunks of a table: measured
 *   2.4 times as fast on 200,000 roots with three children tables, and it needs no index to be bearable.
 */
export type Gathering = "correlated" | "set-wise";

/**
 * The statement that makes the documents of a chunk of the root table, set-wise. It holds no parameters, so that it can
 * stand in a COPY.
 */
export function loadSql(document: MappedDocument, chunk: Chunk): string {
  const { root } = document;
  const id = idSql(document.key.map((column) => ({ column, sql: columnSql(root, column.name) })));
  const restricted = chunk.kind !== "whole";
  const { value, joins } = setWiseObject(root, restricted);
  const source = restricted ? `chunk ${root.alias}` : rootRowsSql(document);
  const statement = `SELECT ${id} AS id, (${value})::pg_catalog.text AS document
FROM ${source}${joins}`;
  return restricted ? `${chunkSql(document, chunk)}\n${statement}` : statement;
}

/**
 * The statement that makes the documents of given root keys. Its parameters are arrays, one for each key column in the
 * order of `MappedDocument.key`, all of one length. Every key gives at least one row.
 */
export function keysSql(document: MappedDocument, gathering: Gathering): string {
  const { root, key } = document;
  const names = key.map((_, index) => `k${index + 1}`);
  const id = idSql(key.map((column, index) => ({ column, sql: `k.k${index + 1}` })));
  const [firstKey] = key;
  if (firstKey === undefined) throw new RangeError("a key has at least one column");
  const same = sameKeySql(document);
  const found = `${columnSql(root, firstKey.name)} IS NOT NULL`;
  const table = `${quoteQualified(root.relation)} ${root.alias}`;
  const unique = keyIsUnique(root.relation);

  if (gathering === "correlated") {
    const value = correlatedObject(root);
    // The view gets the key as a condition of its own, which reaches below a GROUP BY, as a join would not.
    const first = `(SELECT * FROM ${table} WHERE ${same} ORDER BY ${rowTextsSql(root).join(", ")} LIMIT 1)`;
    const joined = unique ? `${table} ON ${same}` : `LATERAL ${first} ${root.alias} ON true`;
    return `SELECT ${id} AS id, CASE WHEN ${found} THEN (${value})::pg_catalog.text END AS document
FROM ${keyRowsSql(key)}
LEFT JOIN ${joined}`;
  }
  const { value, joins } = setWiseObject(root, true);
  // The keys stand beside the root's columns, so they need names that none of these has.
  let prefix = "k";
  while (root.relation.columns.some((column) => column.name.startsWith(prefix))) prefix += "_";
  const own = names.map((_, index) => quoteIdentifier(`${prefix}${index + 1}`));
  const keys = names.map((name, index) => `k.${name} AS ${own[index]}`);
  const asked = key.map((column, index) => keyTextSql({ column, sql: `k.${names[index]}` })).join(", ");
  const only = unique ? "" : `DISTINCT ON (${asked}) `;
  const first = unique ? "" : `\n  ORDER BY ${[asked, ...rowTextsSql(root)].join(", ")}`;
  return `WITH chunk AS MATERIALIZED (
  SELECT ${only}${[...neededColumns(root), ...keys].join(", ")}
  FROM ${keyRowsSql(key)}
  LEFT JOIN ${table} ON ${same}${first}
)
SELECT ${idSql(key.map((column, index) => ({ column, sql: `${root.alias}.${own[index]}` })))} AS id,
  CASE WHEN ${found} THEN (${value})::pg_catalog.text END AS document
FROM chunk ${root.alias}${joins}`;
}

/** The statement that lists the keys of all roots, or of those in a chunk, as texts in the order of `MappedDocument.key`. */
export function allKeysSql(document: MappedDocument, chunk: Chunk = { kind: "whole" }): string {
  const { root } = document;
  const distinct = keyIsUnique(root.relation) ? "" : "DISTINCT ";
  const conditions = [
    ...chunk.kind === "whole" ? [] : [rangeSql(root, chunk)],
    wholeKeySql(document) ?? [],
  ].flat();
  const where = conditions.length === 0 ? "" : ` WHERE ${conditions.join(" AND ")}`;
  return `SELECT ${distinct}${keyTextsSql(document).join(", ")} FROM ${
    quoteQualified(root.relation)
  } ${root.alias}${where}`;
}

/**
 * The statement that tells which of given root keys have no row. Parameters and columns as `keysSql` and `allKeysSql`
 * have them.
 */
export function missingKeysSql(document: MappedDocument): string {
  const { root, key } = document;
  const [firstKey] = key;
  if (firstKey === undefined) throw new RangeError("a key has at least one column");
  const texts = key.map((column, index) => keyTextSql({ column, sql: `k.k${index + 1}` }));
  return `SELECT ${texts.join(", ")}
FROM ${keyRowsSql(key)}
LEFT JOIN ${quoteQualified(root.relation)} ${root.alias} ON ${sameKeySql(document)}
WHERE ${columnSql(root, firstKey.name)} IS NULL`;
}

/**
 * The statement that tells which of given root keys have a row: their ids, and a mark that changes whenever another
 * version of the row takes the place of this one (null where the root is no table). Parameters as `keysSql` has them.
 */
export function existingIdsSql(document: MappedDocument): string {
  const { root, key } = document;
  const { alias, relation } = root;
  const id = idSql(key.map((column) => ({ column, sql: columnSql(root, column.name) })));
  const hasRows = relation.kind === "table" || relation.kind === "partitioned";
  const mark = hasRows
    ? `pg_catalog.concat_ws(' ', ${alias}.tableoid, ${alias}.ctid, ${alias}.xmin)`
    : "NULL::pg_catalog.text";
  return `SELECT ${id} AS id, ${mark} AS mark
FROM ${keyRowsSql(key)}
JOIN ${quoteQualified(relation)} ${alias} ON ${sameKeySql(document)}`;
}

/**
 * The statement that lists the keys of some roots chosen at random, as `allKeysSql` does.
 *
 * @param size at most so many
 * @param percent of the table's pages that are looked at; null: the whole table
 */
export function sampleKeysSql(document: MappedDocument, size: number, percent: number | null): string {
  const { root } = document;
  // Of a view whose key is not unique, DISTINCT has to come first.
  if (isView(root.relation)) {
    return `SELECT * FROM (${allKeysSql(document)}) k ORDER BY pg_catalog.random() LIMIT ${size}`;
  }
  const pages = percent === null ? "" : ` TABLESAMPLE SYSTEM (${percent})`;
  return `${allKeysSql(document)}${pages} ORDER BY pg_catalog.random() LIMIT ${size}`;
}

/** That a root row has the key `k`. */
function sameKeySql({ root, key }: MappedDocument): string {
  return key.map((column, index) => {
    const left = columnSql(root, column.name);
    const equal = `${left} ${column.type.equals ?? "="} k.k${index + 1}`;
    // 1.0 and 1.00 are equal, yet they are two ids.
    return column.type.equalityIsIdentity
      ? equal
      : `${equal} AND ${left}::pg_catalog.text = k.k${index + 1}::pg_catalog.text`;
  }).join(" AND ");
}
