/**
 * The only place where names and values become SQL text. Everything that pgsync sends to PostgreSQL and that is not a
 * bound parameter goes through these functions
 * (https://www.postgresql.org/docs/current/sql-syntax-lexical.html).
 */

/** A table (or another relation) by schema and name. */
export interface QualifiedName {
  readonly schema: string;
  readonly table: string;
}

/**
 * Quotes a name. It is always quoted, also where PostgreSQL would not need it, so that case and reserved words never matter.
 *
 * @throws RangeError where the name is empty, or holds what PostgreSQL cannot store (NUL, half a surrogate pair)
 */
export function quoteIdentifier(name: string): string {
  if (name === "") throw new RangeError("a name in SQL cannot be empty");
  refuseUnstorable(name);
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * Quotes the name of a table with its schema: `"public"."book"`.
 *
 * @throws RangeError as `quoteIdentifier`
 */
export function quoteQualified(name: QualifiedName): string {
  return `${quoteIdentifier(name.schema)}.${quoteIdentifier(name.table)}`;
}

/**
 * Quotes a text value. Where it holds a backslash the E'' form is used, which means the same whatever
 * `standard_conforming_strings` says; the blank before it keeps the E from joining a word on its left (as
 * `quote_literal` and libpq do).
 *
 * @throws RangeError where the value holds what PostgreSQL cannot store (NUL, half a surrogate pair)
 */
export function quoteLiteral(value: string): string {
  refuseUnstorable(value);
  const doubled = value.replaceAll("'", "''");
  return doubled.includes("\\") ? ` E'${doubled.replaceAll("\\", "\\\\")}'` : `'${doubled}'`;
}

/** PostgreSQL's text knows no NUL, and half a surrogate pair has no UTF-8: it would silently become another character. */
function refuseUnstorable(text: string): void {
  if (text.includes("\0")) throw new RangeError("PostgreSQL cannot store the character U+0000");
  if (!text.isWellFormed()) throw new RangeError("PostgreSQL cannot store half of a surrogate pair");
}
