/** The bookshop of examples/bookshop: 930 bytes a document, three tables below the book, one of them three tables deep. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { loadBookshop } from "../../../examples/bookshop/load.ts";
import { isbnOf, TABLES } from "../../../examples/bookshop/rows.ts";
import { PROJECT } from "../../project.ts";
import { temporaryFolder } from "../../servers/process.ts";
import type { ProgressView } from "../../servers/progress.ts";
import type { BenchSchema } from "../candidates/pgsync.ts";
import { type Dataset, integerProbe } from "./dataset.ts";

const SCHEMA = z.record(z.string(), z.unknown());

/**
 * @param name of the database
 * @param view shows how far the filling is
 */
export function bookshop(name: string, books: number, view: ProgressView): Dataset {
  return {
    name,
    schema: writeSchema([{ ...bookSchema(), database: name }]),
    documents: [books],
    async fill(url) {
      const onProgress = (table: string, rows: number) => table === "book" && view.rows("Books", rows, books);
      await loadBookshop({ url, books, onProgress });
    },
    // The first book's pages are changed by nothing else.
    probe: integerProbe(
      isbnOf(0),
      "page_count",
      (sql, value) => sql`UPDATE book SET pages = ${value} WHERE isbn = ${isbnOf(0)}`,
    ),
  };
}

/** The same tables in three indices: books, authors with their books, publishers with their books. */
export function threeIndices(name: string, books: number, view: ProgressView): Dataset {
  const object = { type: "one_to_one", variant: "object" };
  const array = { type: "one_to_many", variant: "object" };
  const book = { table: "book", label: "books", columns: ["isbn", "title", "published_on"] };
  const country = { table: "country", columns: ["id", "name", "code"], relationship: object };
  const authors = {
    table: "author",
    columns: ["id", "name", "date_of_birth"],
    children: [
      { table: "city", columns: ["id", "name"], relationship: object, children: [country] },
      { ...book, relationship: { ...array, through_tables: ["book_author"] } },
    ],
  };
  const publishers = {
    table: "publisher",
    columns: ["id", "name", "founded_on", "is_active"],
    children: [{ ...book, relationship: array }],
  };
  const rows = (table: string) => [...TABLES.find((one) => one.name === table)?.rows(books) ?? []].length;
  return {
    ...bookshop(name, books, view),
    schema: writeSchema([
      { ...bookSchema(), database: name },
      { database: name, index: "authors", nodes: authors },
      { database: name, index: "publishers", nodes: publishers },
    ]),
    documents: [books, rows("author"), rows("publisher")],
  };
}

/** The example's schema file. */
function bookSchema(): Record<string, unknown> {
  return SCHEMA.parse(parse(readFileSync(join(PROJECT, "examples", "bookshop", "schema.yaml"), "utf8")));
}

/** Writes a schema file that PGSync reads, too: a list, in JSON. */
export function writeSchema(documents: readonly Record<string, unknown>[]): BenchSchema {
  const file = join(temporaryFolder("schema"), "schema.json");
  writeFileSync(file, JSON.stringify(documents, null, 2));
  return { file, indices: documents.map(({ index }) => String(index)) };
}
