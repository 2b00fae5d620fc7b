import type { SQLOutputValue } from "node:sqlite";

/** A row as `node:sqlite` gives it. */
export type Row = Record<string, SQLOutputValue>;

/** @throws TypeError where the column holds no text: the file is damaged, for its tables are STRICT */
export function text(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== "string") throw new TypeError(`column ${column} holds no text`);
  return value;
}

/** @throws TypeError where the column holds neither text nor null */
export function textOrNull(row: Row, column: string): string | null {
  return row[column] === null ? null : text(row, column);
}

/** @throws TypeError where the column holds no integer */
export function integer(row: Row, column: string): number {
  const value = row[column];
  if (typeof value !== "number") throw new TypeError(`column ${column} holds no integer`);
  return value;
}

/** @throws TypeError where the column holds no number */
export function real(row: Row, column: string): number {
  const value = row[column];
  if (typeof value !== "number") throw new TypeError(`column ${column} holds no number`);
  return value;
}
