import type { ColumnType } from "../catalog/types.ts";

/** Types that PostgreSQL compares with each other by an operator of its own, without a cast. */
const COMPARABLE = [
  ["int2", "int4", "int8", "numeric", "float4", "float8"],
  ["int2", "int4", "int8", "oid"],
  ["text", "varchar", "bpchar", "name", "citext"],
  ["date", "timestamp", "timestamptz"],
  ["inet", "cidr"],
  ["bit", "varbit"],
];

/**
 * Types that have no order, some of them no equality either: rows cannot be gathered by them. (A constraint cannot join by
 * them anyway, for it needs a unique index.)
 */
const WITHOUT_ORDER: ReadonlySet<string> = new Set([
  ...["json", "jsonpath", "xml", "refcursor", "aclitem", "cid", "xid", "pg_snapshot", "txid_snapshot"],
  ...["box", "circle", "line", "lseg", "path", "point", "polygon"],
]);

function hasOrder({ name, element, attributes }: ColumnType): boolean {
  if (element !== null) return hasOrder(element);
  return !WITHOUT_ORDER.has(name) && (attributes ?? []).every((attribute) => hasOrder(attribute.type));
}

/** Whether PostgreSQL compares values of the two types with each other, and sorts them. */
export function areComparable(a: ColumnType, b: ColumnType): boolean {
  if (!hasOrder(a) || !hasOrder(b)) return false;
  if (a.category !== "base" || b.category !== "base") return a.name === b.name;
  return a.name === b.name || COMPARABLE.some((group) => group.includes(a.name) && group.includes(b.name));
}
