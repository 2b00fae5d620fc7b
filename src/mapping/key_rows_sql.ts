import type { Column } from "../catalog/types.ts";

/**
 * The item of a FROM clause that turns parameters into rows `k(k1, k2, …)`: one array for each column, all of one
 * length.
 *
 * Each array has an `unnest` of its own: the form with several arguments is known to the parser by its bare name only,
 * and `pg_catalog.unnest(a, b)` does not exist.
 *
 * An array's values come as texts and are cast row by row: PostgreSQL knows no arrays of arrays, and would take
 * `bigint[][]` apart down to its numbers.
 *
 * @param columns one for each parameter, from `$1` on
 */
export function keyRowsSql(columns: readonly Column[]): string {
  const names = columns.map((_, index) => `k${index + 1}`);
  const rows = (alias: string) => {
    const arrays = columns.map((column, index) =>
      `pg_catalog.unnest($${index + 1}::${isArray(column) ? "pg_catalog.text" : column.type.sql}[])`
    );
    return `ROWS FROM (${arrays.join(", ")}) AS ${alias}(${names.join(", ")})`;
  };
  if (!columns.some(isArray)) return rows("k");
  const values = columns.map((column, index) => {
    const name = `t.${names[index]}`;
    return isArray(column) ? `${name}::${column.type.sql} AS ${names[index]}` : name;
  });
  return `(SELECT ${values.join(", ")} FROM ${rows("t")}) AS k`;
}

function isArray(column: Column): boolean {
  return column.type.category === "array";
}
