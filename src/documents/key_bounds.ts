import type { Relation } from "../catalog/types.ts";
import { quoteIdentifier, quoteLiteral, quoteQualified } from "../postgres/quote.ts";
import type { SourceSession } from "./source_session.ts";

/**
 * The last key of each part of a table, when it is divided into parts of so many rows; without that of the last part.
 * One walk along the primary key's index.
 *
 * @returns keys as texts, in the order of the primary key
 * @throws postgres.js' errors; the signal's reason
 */
export async function keyBounds(
  session: SourceSession,
  root: Relation,
  rowsAPart: number,
  signal: AbortSignal,
): Promise<string[][]> {
  const columns = root.primaryKey.map(quoteIdentifier);
  const texts = columns.map((column) => `${column}::pg_catalog.text`).join(", ");
  const types = root.primaryKey.map((name) =>
    root.columns.find((column) => column.name === name)?.type.sql ?? "text"
  );
  const bounds: string[][] = [];
  for (;;) {
    signal.throwIfAborted();
    const last = bounds.at(-1);
    // The key of a view may be NULL in part, which is no document's.
    const whole = columns.map((column) => `${column} IS NOT NULL`).join(" AND ");
    const after = last === undefined
      ? whole
      : `${whole} AND (${columns.join(", ")}) > (${
        last.map((value, index) => `${quoteLiteral(value)}::${types[index]}`).join(", ")
      })`;
    const [row] = await session.lookups.unsafe(`
      SELECT ${texts}
      FROM ${quoteQualified(root)}
      WHERE ${after}
      ORDER BY ${columns.join(", ")}
      OFFSET ${rowsAPart - 1} LIMIT 1`).values();
    if (row === undefined) return bounds;
    bounds.push(row.map(String));
  }
}
