import type { Relation } from "../catalog/types.ts";
import { columnsNamed } from "./tree.ts";

/** A column and the expression that gives its value. */
export interface Side {
  readonly relation: Relation;
  readonly column: string;
  readonly sql: string;
}

/**
 * The condition that two columns are equal as their type sees it. `=` alone would be looked up in pg_catalog only, for
 * the search path is empty: two citext would be compared as text, with their case.
 */
export function equalSql(left: Side, right: Side): string {
  const operator = ownEquals(left);
  return `${left.sql} ${
    operator !== undefined && operator === ownEquals(right) ? operator : "="
  } ${right.sql}`;
}

/** The equality operator of a column's type where `=` is not it. */
export function ownEquals({ relation, column }: Pick<Side, "relation" | "column">): string | undefined {
  return columnsNamed(relation, [column])[0]?.type.equals;
}
