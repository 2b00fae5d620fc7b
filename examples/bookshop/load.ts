/** Fills a database with the bookshop. */
import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import postgres from "postgres";
import { type Table, TABLES, type Value } from "./rows.ts";

export interface LoadOptions {
  /** The database, empty; the user must be a superuser. */
  readonly url: string;
  /** How many books; authors, publishers and ratings in proportion. */
  readonly books: number;
  /** Told of each table how many rows have been sent. */
  readonly onProgress?: (table: string, rows: number) => void;
}

const CHUNK_CHARACTERS = 256 * 1024;

/**
 * Makes the tables of schema.sql and copies the rows into them. Foreign keys are not checked row by row (the rows are right by
 * construction), which halves the time. Returns the number of rows of each table.
 */
export async function loadBookshop(options: LoadOptions): Promise<Map<string, number>> {
  const sql = postgres(options.url, {
    max: 1,
    onnotice: () => {},
    connection: { session_replication_role: "replica" },
  });
  try {
    await sql.unsafe(readFileSync(new URL("schema.sql", import.meta.url), "utf8"));
    const counts = new Map<string, number>();
    for (const table of TABLES) counts.set(table.name, await copyTable(sql, table, options));
    await sql.unsafe("VACUUM ANALYZE");
    return counts;
  } finally {
    await sql.end({ timeout: 5 });
  }
}

async function copyTable(sql: postgres.Sql, table: Table, options: LoadOptions): Promise<number> {
  let sent = 0;
  function* chunks(): Generator<string> {
    let chunk = "";
    for (const row of table.rows(options.books)) {
      chunk += row.map(copyText).join("\t") + "\n";
      sent++;
      if (chunk.length < CHUNK_CHARACTERS) continue;
      yield chunk;
      options.onProgress?.(table.name, sent);
      chunk = "";
    }
    yield chunk;
  }
  const target = await sql`COPY ${sql(table.name)} (${sql(table.columns)}) FROM STDIN`.writable();
  await pipeline(Readable.from(chunks()), target);
  options.onProgress?.(table.name, sent);
  return sent;
}

/** A value in COPY's text format. */
function copyText(value: Value): string {
  if (value === null) return "\\N";
  if (typeof value === "string") return escaped(value);
  if (typeof value !== "object") return String(value);
  if (isList(value)) {
    return escaped(`{${value.map((item) => `"${item.replaceAll(/["\\]/g, "\\$&")}"`).join(",")}}`);
  }
  return escaped(JSON.stringify(value));
}

const ESCAPES: Record<string, string> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function escaped(text: string): string {
  return text.replace(/[\\\n\r\t]/g, (character) => ESCAPES[character] ?? character);
}

/** `Array.isArray` does not tell a readonly array from an object. */
function isList(value: object): value is readonly string[] {
  return Array.isArray(value);
}
