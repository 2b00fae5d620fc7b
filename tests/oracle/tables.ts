/** What the oracle reads: whole tables, value by value, and the keys between them. Nothing of src/mapping is used here. */
import type postgres from "postgres";
import type { QualifiedName } from "../../src/schema/tree.ts";
import { type Exact, parseExact } from "../../scripts/demo/digits.ts";

/** Before the name of a nondeterministic collation. Those of the tests ignore case, and nothing else. */
const INSENSITIVE = "collation ";

/** One value of a row. */
export interface Cell {
  /** As `to_json` prints it; a `json` value as `jsonb` does. */
  readonly json: Exact;
  /** Its text form; null for NULL. */
  readonly text: string | null;
  /** The base type; of text under a nondeterministic collation, the collation. */
  readonly type: string;
}

export type Row = ReadonlyMap<string, Cell>;

/** `columns` of a table refer to `targetColumns` of `target`, pair by pair. */
export interface TableKey {
  readonly columns: readonly string[];
  readonly target: QualifiedName;
  readonly targetColumns: readonly string[];
}

/** A whole table. */
export interface Table {
  readonly columns: readonly string[];
  /** The base type of each column. */
  readonly types: ReadonlyMap<string, string>;
  readonly primaryKey: readonly string[];
  /** False for a view, whose key nobody enforces. */
  readonly hasOwnKey: boolean;
  readonly foreignKeys: readonly TableKey[];
  /** In the order of the primary key; without one, in that of all columns' texts. */
  readonly rows: readonly Row[];
}

/**
 * Reads a table or view as it is now.
 *
 * @param givenKey the key of what has none, as the schema file gives it to a view; rows that agree in it stand in the order of
 * all columns' texts
 */
export async function readTable(
  sql: postgres.ISql,
  name: QualifiedName,
  givenKey: readonly string[] = [],
): Promise<Table> {
  const quoted = `${quote(name.schema)}.${quote(name.table)}`;
  const columns = await sql.unsafe<{ name: string; type: string }[]>(
    `select attname as name, case when collisdeterministic is false then '${INSENSITIVE}' || collname else
         (select t.typname from pg_type t
           where t.oid = case when own.typtype = 'd' then own.typbasetype else own.oid end) end as type
     from pg_attribute join pg_type own on own.oid = atttypid left join pg_collation l on l.oid = attcollation
     where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum`,
    [quoted],
  );
  const ownKey = await sql.unsafe<{ name: string }[]>(
    `select a.attname as name from pg_constraint c, unnest(c.conkey) with ordinality k(number, place)
     join pg_attribute a on a.attrelid = $1::regclass and a.attnum = k.number
     where c.conrelid = $1::regclass and c.contype = 'p' order by k.place`,
    [quoted],
  );
  const foreignKeys = await sql.unsafe<
    { columns: string[]; schema: string; table: string; targetColumns: string[] }[]
  >(
    `select n.nspname as schema, t.relname as table,
       array(select a.attname::text from unnest(c.conkey) with ordinality k(number, place)
         join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number order by place) as columns,
       array(select a.attname::text from unnest(c.confkey) with ordinality k(number, place)
         join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.number order by place) as "targetColumns"
     from pg_constraint c join pg_class t on t.oid = c.confrelid join pg_namespace n on n.oid = t.relnamespace
     where c.conrelid = $1::regclass and c.contype = 'f' and c.conparentid = 0`,
    [quoted],
  );
  // Qualified, for a bare name after ORDER BY would be that of an output column, which is text.
  const primaryKey = ownKey.length > 0 ? ownKey.map((column) => column.name) : givenKey;
  const order = primaryKey.map((column) => `t.${quote(column)}`);
  if (ownKey.length === 0) order.push(...columns.map((column) => `t.${quote(column.name)}::text`));
  const values = columns.flatMap(({ name: column, type }) => {
    const value = `t.${quote(column)}`;
    return [type === "json" ? `${value}::jsonb::text` : `to_json(${value})::text`, `${value}::text`];
  });
  const rows = await sql.unsafe(`select ${values.join(", ")} from ${quoted} t order by ${order.join(", ")}`)
    .values();
  return {
    columns: columns.map((column) => column.name),
    types: new Map(columns.map((column) => [column.name, column.type])),
    primaryKey,
    hasOwnKey: ownKey.length > 0,
    foreignKeys: foreignKeys.map((key) => ({
      columns: key.columns,
      target: { schema: key.schema, table: key.table },
      targetColumns: key.targetColumns,
    })),
    rows: rows.map((row: unknown[]) =>
      new Map(columns.map(({ name: column, type }, index) => [
        column,
        cell(type, textOrNull(row[2 * index]), textOrNull(row[2 * index + 1])),
      ]))
    ),
  };
}

function cell(type: string, json: string | null, text: string | null): Cell {
  const value = json === null ? null : parseExact(json);
  // A cast to text strips the blanks that fill up char(n); they belong to the value as it prints.
  const printed = type === "bpchar" && typeof value === "string" ? value : text;
  return { json: value, text: printed, type };
}

/**
 * Two cells are equal to PostgreSQL when these texts are, each made with the other's type; null is equal to nothing.
 *
 * @param other the type of the column that the cell is compared with
 */
export function identity({ text, type }: Cell, other: string): string | null {
  if (text === null) return null;
  const types = [type, other];
  const collations = new Set(types.filter((name) => name.startsWith(INSENSITIVE)));
  // Of two different ones neither decides.
  if (collations.size === 1 && types.every((name) => collations.has(name) || name === "text")) {
    return text.toLowerCase();
  }
  // Between char(n) and varchar the blanks at the end do not count; text and char(n) are compared as texts, of which the
  // second has none.
  const padded = types.includes("bpchar") && types.every((name) => ["bpchar", "varchar"].includes(name));
  if (padded || type === "bpchar") return text.replace(/ +$/, "");
  if (types.includes("float4") || types.includes("float8")) {
    return String(type === "float4" ? Math.fround(Number(text)) : Number(text));
  }
  switch (type) {
    case "int2":
    case "int4":
    case "int8":
    case "numeric":
      return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
    case "citext":
      // With another type it is compared as text.
      return other === "citext" ? text.toLowerCase() : text;
    default:
      return text;
  }
}

function textOrNull(value: unknown): string | null {
  if (value === null || typeof value === "string") return value;
  throw new TypeError(`PostgreSQL gave no text: ${String(value)}`);
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
