import type { Column, Relation } from "../catalog/types.ts";
import { columnsNamed } from "./tree.ts";

/** A column and the expression that gives its value. */
export interface Side {
  readonly relation: Relation;
  readonly column: string;
  readonly sql: string;
}

type Place = Pick<Side, "relation" | "column">;

/**
 * The condition that two columns are equal as their type sees it. `=` alone would be looked up in pg_catalog only, for
 * the search path is empty: two citext would be compared as text, with their case.
 */
export function equalSql(left: Side, right: Side): string {
  const operator = ownEquals(left);
  if (operator !== undefined && operator === ownEquals(right)) return `${left.sql} ${operator} ${right.sql}`;
  // Equality is the same under every deterministic collation, so any will do.
  const collate = collationsConflict(left, right) ? ' COLLATE pg_catalog."C"' : "";
  return `${left.sql}${collate} = ${right.sql}${collate}`;
}

/** Whether PostgreSQL refuses to compare two columns (42P22), because each has another collation of its own. */
export function collationsConflict(left: Place, right: Place): boolean {
  const [one, other] = [left, right].map((place) => columnAt(place)?.collation);
  return one !== undefined && other !== undefined && one !== other;
}

/** The equality operator of a column's type where `=` is not it. */
export function ownEquals(place: Place): string | undefined {
  return columnAt(place)?.type.equals;
}

function columnAt({ relation, column }: Place): Column | undefined {
  return columnsNamed(relation, [column])[0];
}
