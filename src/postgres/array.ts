/**
 * Writes a PostgreSQL array literal of one dimension, to be sent as the text of an array parameter
 * (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO). Every element is quoted, so none is read as NULL.
 *
 * @param values the elements' text forms
 */
export function arrayLiteral(values: readonly string[]): string {
  return `{${values.map(quoteElement).join(",")}}`;
}

function quoteElement(value: string): string {
  return value.includes('"') || value.includes("\\")
    ? `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`
    : `"${value}"`;
}
