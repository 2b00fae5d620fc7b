import type { Column } from "../catalog/types.ts";

/** Types whose text form can hold no `|` and no backslash, so nothing needs to be escaped. */
const PLAIN_TYPES = new Set([
  "int2",
  "int4",
  "int8",
  "oid",
  "uuid",
  "bool",
  "numeric",
  "float4",
  "float8",
  "date",
  "time",
  "timetz",
  "timestamp",
  "timestamptz",
  "interval",
]);

/** A key column and the SQL expression that gives its value. */
export interface KeyPart {
  readonly column: Column;
  readonly sql: string;
}

/**
 * The SQL expression of a document's `_id`: the key's values joined with `|`, as PGSync joins them.
 *
 * PGSync escapes nothing, so two rows can share an id when a value holds `|`. Here, in a composite key of which a value
 * holds `|`, both `\` and `|` are escaped with `\` in all its values; every other id is the same as PGSync's. The two
 * cannot meet: with n columns an unescaped id has exactly n-1 pipes, an escaped one has more.
 *
 * @param parts the key in the order of `_id` (by column name)
 */
export function idSql(parts: readonly KeyPart[]): string {
  const texts = parts.map((part) => keyTextSql(part));
  const [only] = texts;
  if (only === undefined) throw new RangeError("a key has at least one column");
  if (texts.length === 1) return only;
  const plain = texts.join(" || '|' || ");
  const risky = parts.filter((part) => !isPlain(part.column)).map((part) => keyTextSql(part));
  if (risky.length === 0) return `(${plain})`;
  const escaped = texts
    .map((text) => String.raw`pg_catalog.replace(pg_catalog.replace(${text}, E'\\', E'\\\\'), '|', E'\\|')`)
    .join(" || '|' || ");
  return `CASE WHEN pg_catalog.strpos(${risky.join(" || ")}, '|') > 0 THEN ${escaped} ELSE ${plain} END`;
}

/**
 * The SQL expression of a key value's text, as the type's output function gives it: so it stands in an `_id`, and so
 * the stream sends it. A cast to text would strip the padding of `char(n)`, which `concat` (it calls the output
 * function) keeps, as PGSync does.
 */
export function keyTextSql(part: KeyPart): string {
  return part.column.type.name === "bpchar"
    ? `pg_catalog.concat(${part.sql})`
    : `(${part.sql})::pg_catalog.text`;
}

function isPlain(column: Column): boolean {
  return column.type.category !== "enum" && PLAIN_TYPES.has(column.type.name);
}

/**
 * The `_id` that `idSql` gives, made of the texts of the key's columns.
 *
 * @param values in the order of `_id`, as the types' output functions give them
 */
export function joinId(values: readonly string[]): string {
  const escape = values.length > 1 && values.some((value) => value.includes("|"));
  return (escape ? values.map((value) => value.replaceAll(/[\\|]/g, String.raw`\$&`)) : values).join("|");
}

/**
 * Splits an `_id` made by `idSql` into the texts of its key columns again; null where it cannot be one (a document that
 * somebody else wrote).
 *
 * @param count the number of key columns
 */
export function splitId(id: string, count: number): string[] | null {
  if (count === 1) return [id];
  const plain = id.split("|");
  if (plain.length === count) return plain;
  if (plain.length < count) return null;
  const values: string[] = [];
  let current = "";
  for (let i = 0; i < id.length; i++) {
    const character = id.charAt(i);
    if (character === "\\") {
      const next = id.charAt(i + 1);
      if (next !== "\\" && next !== "|") return null;
      current += next;
      i++;
    } else if (character === "|") {
      values.push(current);
      current = "";
    } else {
      current += character;
    }
  }
  values.push(current);
  return values.length === count ? values : null;
}
