import type { Column } from "../catalog/types.ts";

/**
 * The item of a FROM clause that turns parameters into rows `k(k1, k2, …)`: one array for each column, all of one
 * length.
 *
 * Each array has an `unnest` of its own: the form with several arguments is known to the parser by its bare name only,
 * and `pg_catalog.unnest(a, b)` does not exist.
 *
 * @param columns one for each parameter, from `$1` on
 */
export function keyRowsSql(columns: readonly Column[]): string {
  const arrays = columns.map((column, index) => `pg_catalog.unnest($${index + 1}::${column.type.sql}[])`);
  const names = columns.map((_, index) => `k${index + 1}`);
  return `ROWS FROM (${arrays.join(", ")}) AS k(${names.join(", ")})`;
}
