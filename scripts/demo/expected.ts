/**
 * What the documents of examples/bookshop/schema.yaml must be, made from whole tables in plain TypeScript; nothing of pgsync is
 * used, so that it can be checked by this.
 */
import postgres from "postgres";
import { Digits, type Exact, type ExactObject, parseExact } from "./digits.ts";

/** Rows with every value as PostgreSQL prints it, but for booleans and text arrays. */
type Row = Readonly<Record<string, unknown>>;

/** int8, int2, int4, float4, float8, numeric, date, timestamptz, jsonb: as text, with all digits. */
const AS_TEXT = [20, 21, 23, 700, 701, 1700, 1082, 1184, 3802];

/** All documents by their ids, as of one instant. */
export async function expectedDocuments(databaseUrl: string): Promise<Map<string, ExactObject>> {
  const sql = postgres(databaseUrl, {
    max: 1,
    connection: { TimeZone: "UTC", DateStyle: "ISO" },
    types: {
      text: { to: 25, from: AS_TEXT, serialize: String, parse: (text: string) => text },
    },
  });
  try {
    return await sql.begin("ISOLATION LEVEL REPEATABLE READ READ ONLY", async (snapshot) => {
      const table = async (name: string, order: string): Promise<Row[]> => [
        ...await snapshot`SELECT * FROM ${snapshot(name)} ORDER BY ${snapshot(order)}`,
      ];
      return documents({
        continents: byId(await table("continent", "id")),
        countries: byId(await table("country", "id")),
        cities: byId(await table("city", "id")),
        publishers: byId(await table("publisher", "id")),
        authors: byId(await table("author", "id")),
        authorIds: grouped(await table("book_author", "author_id"), "book_isbn"),
        ratings: grouped(await table("rating", "id"), "book_isbn"),
        books: await table("book", "isbn"),
      });
    });
  } finally {
    await sql.end({ timeout: 5 });
  }
}

interface Tables {
  readonly continents: ReadonlyMap<unknown, Row>;
  readonly countries: ReadonlyMap<unknown, Row>;
  readonly cities: ReadonlyMap<unknown, Row>;
  readonly publishers: ReadonlyMap<unknown, Row>;
  readonly authors: ReadonlyMap<unknown, Row>;
  /** Rows of the link table by book, ordered by author. */
  readonly authorIds: ReadonlyMap<unknown, readonly Row[]>;
  readonly ratings: ReadonlyMap<unknown, readonly Row[]>;
  readonly books: readonly Row[];
}

function documents(tables: Tables): Map<string, ExactObject> {
  return new Map(tables.books.map((book) => [String(book["isbn"]), bookDocument(book, tables)]));
}

function bookDocument(book: Row, tables: Tables): ExactObject {
  const isbn = book["isbn"];
  const publisher = tables.publishers.get(book["publisher_id"]);
  const authors = tables.authorIds.get(isbn)?.map((link) => tables.authors.get(link["author_id"]));
  return {
    isbn: text(isbn),
    title: text(book["title"]),
    description: text(book["description"]),
    price: number(book["price"]),
    page_count: number(book["pages"]),
    weight_kg: number(book["weight_kg"]),
    in_stock: truth(book["in_stock"]),
    published_on: text(book["published_on"]),
    catalogue_number: number(book["catalogue_number"]),
    tags: texts(book["tags"]),
    dimensions: json(book["dimensions"]),
    updated_at: instant(book["updated_at"]),
    publisher: publisher === undefined ? null : {
      id: number(publisher["id"]),
      name: text(publisher["name"]),
      founded_on: text(publisher["founded_on"]),
      is_active: truth(publisher["is_active"]),
    },
    authors: authors?.map((author) => authorObject(required(author), tables)) ?? null,
    ratings: tables.ratings.get(isbn)?.map((rating) => ({
      id: number(rating["id"]),
      stars: number(rating["stars"]),
      reviewer: text(rating["reviewer"]),
      comment: text(rating["comment"]),
      created_at: instant(rating["created_at"]),
    })) ?? null,
  };
}

function authorObject(author: Row, tables: Tables): ExactObject {
  const city = tables.cities.get(author["city_id"]);
  return {
    id: number(author["id"]),
    name: text(author["name"]),
    born_on: text(author["date_of_birth"]),
    city: city === undefined ? null : cityObject(city, tables),
  };
}

function cityObject(city: Row, tables: Tables): ExactObject {
  const country = required(tables.countries.get(city["country_id"]));
  const continent = required(tables.continents.get(country["continent_id"]));
  return {
    id: number(city["id"]),
    name: text(city["name"]),
    country: {
      id: number(country["id"]),
      name: text(country["name"]),
      code: text(country["code"]),
      continent: { id: number(continent["id"]), name: text(continent["name"]) },
    },
  };
}

function byId(rows: readonly Row[]): Map<unknown, Row> {
  return new Map(rows.map((row) => [row["id"], row]));
}

function grouped(rows: readonly Row[], key: string): Map<unknown, Row[]> {
  const groups = new Map<unknown, Row[]>();
  for (const row of rows) {
    const group = groups.get(row[key]);
    if (group === undefined) groups.set(row[key], [row]);
    else group.push(row);
  }
  return groups;
}

function required(row: Row | undefined): Row {
  if (row === undefined) throw new Error("a row that a foreign key names does not exist");
  return row;
}

function text(value: unknown): string | null {
  return value === null ? null : String(value);
}

function number(value: unknown): Digits | null {
  return value === null ? null : new Digits(String(value));
}

function truth(value: unknown): boolean | null {
  return value === null ? null : value === true;
}

function texts(value: unknown): readonly string[] | null {
  return Array.isArray(value) ? value.map(String) : null;
}

function json(value: unknown): Exact {
  return value === null ? null : parseExact(String(value));
}

/** PostgreSQL prints `2024-03-01 12:00:00.5+00`, and the same in JSON as ISO 8601: `2024-03-01T12:00:00.5+00:00`. */
function instant(value: unknown): string | null {
  return value === null ? null : String(value).replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
}
