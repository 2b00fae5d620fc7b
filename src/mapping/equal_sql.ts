import { columnsNamed } from "../catalog/columns.ts";
import type { Column, Relation } from "../catalog/types.ts";

/** A column and the expression that gives its value. */
export interface Side {
  readonly relation: Relation;
  readonly column: string;
  readonly sql: string;
}

const BYTEWISE = ' COLLATE pg_catalog."C"';

type Place = Pick<Side, "relation" | "column">;

/**
 * The condition that two columns are equal as their type sees it. `=` alone would be looked up in pg_catalog only, for
 * the search path is empty: two citext would be compared as text, with their case.
 */
export function equalSql(left: Side, right: Side): string {
  const operator = ownEquals(left);
  if (operator !== undefined && operator === ownEquals(right)) return `${left.sql} ${operator} ${right.sql}`;
  // Equality is the same under every deterministic collation, so any will do.
  const collate = collationsConflict(left, right) ? BYTEWISE : "";
  return `${left.sql}${collate} = ${right.sql}${collate}`;
}

/**
 * A column as an expression of which two values are equal just when both equal the same values of another column. Rows
 * that are grouped, or told apart, before they are compared with that column must be so by this: 'ab' and 'ab ' are
 * two values of varchar, and both equal 'ab' of char(4).
 */
export function comparedSql(near: Side, far: Place): string {
  return `${near.sql}${conversion(near, far)}`;
}

/** Whether rows that differ in a column by its own equality cannot equal one value of another column. */
export function keepsEquality(near: Place, far: Place): boolean {
  return conversion(near, far) === "";
}

/**
 * What PostgreSQL does to the values of one column to compare them with another's, where values become equal or different by
 * it (https://www.postgresql.org/docs/current/typeconv-oper.html).
 */
function conversion(near: Place, far: Place): string {
  const [from, to] = [columnAt(near), columnAt(far)];
  if (from === undefined || to === undefined) return "";
  const type = CONVERSIONS.find((known) => known.from.includes(from.type.name) && known.isFor(to.type.name))
    ?.to;
  const cast = type === undefined ? "" : `::${type}`;
  if (collationsConflict(near, far)) return from.type.equalityIsIdentity ? cast : `${cast}${BYTEWISE}`;
  // The one collation that is named decides; another than the database's may take different texts for equal.
  const named = from.collation === undefined && !to.type.equalityIsIdentity ? to.collation : undefined;
  return named === undefined ? cast : `${cast} COLLATE ${named}`;
}

const CONVERSIONS: readonly {
  readonly from: readonly string[];
  readonly isFor: (other: string) => boolean;
  readonly to: string;
}[] = [
  { from: ["varchar"], isFor: (other) => other === "bpchar", to: "pg_catalog.bpchar" },
  { from: ["citext"], isFor: (other) => other !== "citext", to: "pg_catalog.text" },
  {
    from: ["numeric", "int8"],
    isFor: (other) => other === "float4" || other === "float8",
    to: "pg_catalog.float8",
  },
  {
    from: ["date", "timestamp"],
    isFor: (other) => other === "timestamptz",
    to: "pg_catalog.timestamptz",
  },
];

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
