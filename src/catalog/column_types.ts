import { PgsyncError } from "../errors/error.ts";
import type { TypeRow } from "./rows.ts";
import type { ColumnType, TypeCategory } from "./types.ts";

/**
 * Types of pg_catalog of which two equal values always print alike, in one session. Not among them: numeric
 * (1.0 = 1.00), float4 and float8 (0 = -0), interval (1 day = 24:00:00), bpchar (blanks at the end do not
 * count), jsonb (numeric inside), tsvector and the geometric types (equal by area or within a tolerance). Text
 * types count only under a deterministic collation.
 */
const PRINTS_AS_EQUAL = new Set([
  "bool",
  "int2",
  "int4",
  "int8",
  "oid",
  "xid",
  "xid8",
  "cid",
  "tid",
  "pg_lsn",
  "money",
  "uuid",
  "date",
  "time",
  "timetz",
  "timestamp",
  "timestamptz",
  "bytea",
  "bit",
  "varbit",
  "inet",
  "cidr",
  "macaddr",
  "macaddr8",
  "char",
]);
const TEXT_TYPES = new Set(["text", "varchar", "name"]);

/**
 * Makes column types of the rows of `pg_type`: domains resolved to their base, elements and attributes inside.
 *
 * @returns a function that gives the type of an oid; `deterministic` is the collation's of the column
 * @throws {PgsyncError} INTERNAL where a row is missing
 */
export function buildTypes(rows: readonly TypeRow[]): (oid: number, deterministic: boolean) => ColumnType {
  const byOid = new Map(rows.map((row) => [row.oid, row]));
  const made = new Map<string, ColumnType>();

  function row(oid: number): TypeRow {
    const found = byOid.get(oid);
    if (found === undefined) throw new PgsyncError("INTERNAL", `The type with oid ${oid} was not read.`);
    return found;
  }

  function typeOf(oid: number, deterministic: boolean): ColumnType {
    const key = `${oid} ${deterministic}`;
    const known = made.get(key);
    if (known !== undefined) return known;
    const type = make(row(oid), deterministic);
    made.set(key, type);
    return type;
  }

  function make(declared: TypeRow, deterministic: boolean): ColumnType {
    let base = declared;
    while (base.kind === "d") base = row(base.base);
    const element = base.element === 0 ? null : typeOf(base.element, deterministic);
    const attributes = base.attributes.map((attribute) => ({
      name: attribute.name,
      type: typeOf(attribute.type, attribute.deterministic),
    }));
    return {
      oid: declared.oid,
      name: base.name,
      sql: declared.sql,
      category: category(base),
      element,
      equalityIsIdentity: equalityIsIdentity(base, element, attributes, deterministic),
      ...(base.equals === null ? {} : { equals: base.equals }),
      ...(base.kind === "c" ? { attributes } : {}),
    };
  }

  function equalityIsIdentity(
    base: TypeRow,
    element: ColumnType | null,
    attributes: readonly { readonly type: ColumnType }[],
    deterministic: boolean,
  ): boolean {
    if (element !== null) return element.equalityIsIdentity;
    if (base.kind === "e") return true;
    if (base.subtype !== 0) return typeOf(base.subtype, deterministic).equalityIsIdentity;
    if (base.kind === "c") return attributes.every((attribute) => attribute.type.equalityIsIdentity);
    if (!base.builtIn) return false;
    return PRINTS_AS_EQUAL.has(base.name) || TEXT_TYPES.has(base.name) && deterministic;
  }

  return typeOf;
}

function category(base: TypeRow): TypeCategory {
  if (base.element !== 0) return "array";
  switch (base.kind) {
    case "e":
      return "enum";
    case "c":
      return "composite";
    case "r":
      return "range";
    case "m":
      return "multirange";
    default:
      return "base";
  }
}
