/** The changes that the demo makes to the bookshop, and how each shows in the documents. */
import type postgres from "postgres";
import { type Random, randomOf } from "../../examples/bookshop/random.ts";
import { isbnOf } from "../../examples/bookshop/rows.ts";
import { FIRST_NAMES, LAST_NAMES } from "../../examples/bookshop/words.ts";
import { Digits, type Exact, type ExactObject, isList, isObject } from "./digits.ts";

/** A change that has been chosen and not been made yet. */
export interface Change {
  /** What kind of change, in a word or two. */
  readonly kind: string;
  /** What will be changed, for people. */
  readonly text: string;
  /** Makes it; runs within a transaction. */
  apply(sql: postgres.TransactionSql): Promise<unknown>;
  /** The documents in which it must show. */
  readonly ids: readonly string[];
  /** True where the document shows it; undefined stands for a document that does not exist. */
  shows(document: ExactObject | undefined, id: string): boolean;
}

/** Chooses a change by looking into the database. */
export type Chooser = (sql: postgres.Sql, random: Random) => Promise<Change>;

/** A book's price. */
const price: Chooser = async (sql, random) => {
  const book = await pickRow(sql, random, sql`book WHERE price IS NOT NULL`, sql`isbn`);
  const isbn = String(book["isbn"]);
  const old = String(book["price"]);
  let changed = old;
  while (changed === old) changed = `${random.whole(3, 89)}.${random.pick(["00", "49", "50", "95"])}`;
  return {
    kind: "price",
    text: `${quoted(book)} now costs ${changed}, not ${old}`,
    apply: (tx) => tx`UPDATE book SET price = ${changed} WHERE isbn = ${isbn}`,
    ids: [isbn],
    shows: (document) => digitsOf(document?.["price"]) === changed,
  };
};

/** An author's name, in all of the author's books. */
const authorRenamed: Chooser = async (sql, random) => {
  const author = await pickRow(
    sql,
    random,
    sql`author WHERE EXISTS (SELECT FROM book_author WHERE author_id = id)`,
    sql`id`,
  );
  const id = String(author["id"]);
  const old = String(author["name"]);
  let name = old;
  while (name === old) name = `${random.pick(FIRST_NAMES)} ${random.pick(LAST_NAMES)}`;
  const ids = await isbns(sql`SELECT book_isbn AS isbn FROM book_author WHERE author_id = ${id}`);
  return {
    kind: "author",
    text: `${old} is now ${name}, in ${documents(ids)}`,
    apply: (tx) => tx`UPDATE author SET name = ${name} WHERE id = ${id}`,
    ids,
    shows: (document) =>
      elements(document?.["authors"]).some((one) => digitsOf(one["id"]) === id && one["name"] === name),
  };
};

/** A rating that is withdrawn. */
const ratingDeleted: Chooser = async (sql, random) => {
  const rating = await pickRow(sql, random, sql`rating JOIN book ON isbn = book_isbn`, sql`id`);
  const id = String(rating["id"]);
  return {
    kind: "rating",
    text: `${rating["reviewer"]} withdraws a rating of ${rating["stars"]} from ${quoted(rating)}`,
    apply: (tx) => tx`DELETE FROM rating WHERE id = ${id}`,
    ids: [String(rating["isbn"])],
    shows: (document) =>
      document !== undefined && elements(document["ratings"]).every((one) => digitsOf(one["id"]) !== id),
  };
};

/** A book that goes to another publisher. */
const publisherChanged: Chooser = async (sql, random) => {
  const book = await pickRow(sql, random, sql`book WHERE publisher_id IS NOT NULL`, sql`isbn`);
  const isbn = String(book["isbn"]);
  const old = String(book["publisher_id"]);
  const publisher = await pickRow(sql, random, sql`publisher WHERE id <> ${old}`, sql`id`);
  const id = String(publisher["id"]);
  return {
    kind: "publisher",
    text: `${quoted(book)} moves to ${publisher["name"]}`,
    apply: (tx) => tx`UPDATE book SET publisher_id = ${id} WHERE isbn = ${isbn}`,
    ids: [isbn],
    shows: (document) => digitsOf(field(document?.["publisher"], "id")) === id,
  };
};

/** A new book with its author and a rating, in one transaction. */
const bookAdded: Chooser = async (sql, random) => {
  const [row] = await sql`SELECT count(*)::int AS books FROM book`;
  const isbn = isbnOf(Number(row?.["books"]) + 1_000_000);
  const author = await pickRow(sql, random, sql`author`, sql`id`);
  return {
    kind: "new book",
    text: `“The Newest Book” by ${author["name"]}, with a rating`,
    apply: (tx) =>
      tx`WITH book AS (
          INSERT INTO book (isbn, title, price, pages, in_stock, catalogue_number, updated_at)
          VALUES (${isbn}, 'The Newest Book', 10.00, 100, true, 9223372036854775807, '2024-12-31 23:59:59.999999+00')
        ), link AS (
          INSERT INTO book_author VALUES (${isbn}, ${String(author["id"])}, 1)
        )
        INSERT INTO rating SELECT max(id) + 1, ${isbn}, 5, 'first reader', null, '2024-12-31 12:00:00+00' FROM rating`,
    ids: [isbn],
    shows: (document) =>
      elements(document?.["authors"]).length === 1 && elements(document?.["ratings"]).length === 1,
  };
};

/** A book that is gone, with what belonged to it. */
const bookRemoved: Chooser = async (sql, random) => {
  const book = await pickRow(sql, random, sql`book`, sql`isbn`);
  const isbn = String(book["isbn"]);
  return {
    kind: "book removed",
    text: `${quoted(book)} is gone`,
    apply: (tx) => tx`DELETE FROM book WHERE isbn = ${isbn}`,
    ids: [isbn],
    shows: (document) => document === undefined,
  };
};

/** The key of a book, and so the id of its document. */
const isbnCorrected: Chooser = async (sql, random) => {
  const book = await pickRow(
    sql,
    random,
    sql`book WHERE EXISTS (SELECT FROM rating WHERE book_isbn = isbn)`,
    sql`isbn`,
  );
  const old = String(book["isbn"]);
  const isbn = isbnOf(2_000_000 + random.whole(0, 1_000_000));
  return {
    kind: "new key",
    text: `${quoted(book)} is now ${isbn}, not ${old}`,
    apply: (tx) => tx`UPDATE book SET isbn = ${isbn} WHERE isbn = ${old}`,
    ids: [old, isbn],
    shows: (document, id) => id === old ? document === undefined : elements(document?.["ratings"]).length > 0,
  };
};

/** A second author, by a row of the link table. */
const authorAdded: Chooser = async (sql, random) => {
  const book = await pickRow(sql, random, sql`book`, sql`isbn`);
  const isbn = String(book["isbn"]);
  const author = await pickRow(
    sql,
    random,
    sql`author WHERE NOT EXISTS (SELECT FROM book_author WHERE author_id = id AND book_isbn = ${isbn})`,
    sql`id`,
  );
  const id = String(author["id"]);
  return {
    kind: "author added",
    text: `${author["name"]} has helped with ${quoted(book)}`,
    apply: (tx) => tx`INSERT INTO book_author VALUES (${isbn}, ${id}, 9)`,
    ids: [isbn],
    shows: (document) => elements(document?.["authors"]).some((one) => digitsOf(one["id"]) === id),
  };
};

/** A rating that was given to the wrong book: two documents change. */
const ratingMoved: Chooser = async (sql, random) => {
  const rating = await pickRow(sql, random, sql`rating`, sql`id`);
  const id = String(rating["id"]);
  const from = String(rating["book_isbn"]);
  const book = await pickRow(sql, random, sql`book WHERE isbn <> ${from}`, sql`isbn`);
  const to = String(book["isbn"]);
  return {
    kind: "rating moved",
    text: `the rating of ${rating["reviewer"]} was meant for ${quoted(book)}`,
    apply: (tx) => tx`UPDATE rating SET book_isbn = ${to} WHERE id = ${id}`,
    ids: [from, to],
    shows: (document, isbn) =>
      document !== undefined &&
      elements(document["ratings"]).some((one) => digitsOf(one["id"]) === id) === (isbn === to),
  };
};

/** A country's name, four tables away from the books. */
const countryRenamed: Chooser = async (sql, random) => {
  const country = await pickRow(sql, random, sql`country`, sql`id`);
  const id = String(country["id"]);
  const name = `${country["name"]} (renamed)`;
  const ids = await isbns(sql`
    SELECT DISTINCT book_isbn AS isbn
    FROM city JOIN author ON city_id = city.id JOIN book_author ON author_id = author.id WHERE country_id = ${id}`);
  return {
    kind: "country",
    text: `${country["name"]} is renamed, in ${documents(ids)}`,
    apply: (tx) => tx`UPDATE country SET name = ${name} WHERE id = ${id}`,
    ids,
    shows: (document) =>
      elements(document?.["authors"]).some((author) =>
        field(field(author["city"], "country"), "name") === name
      ),
  };
};

/** A city that joins another country: its authors' books change, two levels up. */
const cityMoved: Chooser = async (sql, random) => {
  const city = await pickRow(sql, random, sql`city`, sql`id`);
  const id = String(city["id"]);
  const country = await pickRow(sql, random, sql`country WHERE id <> ${Number(city["country_id"])}`, sql`id`);
  const ids = await isbns(sql`
    SELECT DISTINCT book_isbn AS isbn FROM author JOIN book_author ON author_id = author.id WHERE city_id = ${id}`);
  return {
    kind: "city",
    text: `${city["name"]} is now in ${country["name"]}, in ${documents(ids)}`,
    apply: (tx) => tx`UPDATE city SET country_id = ${Number(country["id"])} WHERE id = ${id}`,
    ids,
    shows: (document) =>
      elements(document?.["authors"]).some((author) =>
        digitsOf(field(author["city"], "id")) === id &&
        digitsOf(field(field(author["city"], "country"), "id")) === String(country["id"])
      ),
  };
};

/** What goes on for ever. */
const SMALL: readonly Chooser[] = [price, authorRenamed, ratingDeleted, publisherChanged];

/** What `--once` makes: the small changes twice, and each of the others. */
const FIXED: readonly Chooser[] = [
  ...SMALL,
  ...[bookAdded, bookRemoved, isbnCorrected, authorAdded, ratingMoved, countryRenamed, cityMoved],
  ...SMALL,
];

/** The changes of `--once`, each chosen when the one before has been made. */
export async function* fixedChanges(sql: postgres.Sql): AsyncGenerator<Change> {
  for (const [index, choose] of FIXED.entries()) yield await choose(sql, randomOf("demo", index));
}

/** Small changes without end. */
export async function* endlessChanges(sql: postgres.Sql): AsyncGenerator<Change> {
  for (let round = 0;; round++) {
    for (const [index, choose] of SMALL.entries()) {
      yield await choose(sql, randomOf("demo", round * SMALL.length + index));
    }
  }
}

/** A row of those that the clause after FROM gives, the same one for the same random numbers and rows. */
async function pickRow(
  sql: postgres.Sql,
  random: Random,
  from: postgres.PendingQuery<postgres.Row[]>,
  key: postgres.PendingQuery<postgres.Row[]>,
): Promise<postgres.Row> {
  const [counted] = await sql`SELECT count(*)::int AS rows FROM ${from}`;
  const rows = Number(counted?.["rows"]);
  if (rows === 0) throw new Error("there is no row left to change");
  const [row] = await sql`SELECT * FROM ${from} ORDER BY ${key} OFFSET ${random.whole(0, rows - 1)} LIMIT 1`;
  if (row === undefined) throw new Error("a row vanished while it was looked for");
  return row;
}

async function isbns(query: postgres.PendingQuery<postgres.Row[]>): Promise<string[]> {
  return (await query).map((row) => String(row["isbn"]));
}

function quoted(book: postgres.Row): string {
  return /^“/.test(String(book["title"])) ? String(book["title"]) : `“${book["title"]}”`;
}

function documents(ids: readonly string[]): string {
  return ids.length === 1 ? "1 document" : `${ids.length.toLocaleString("en-US")} documents`;
}

function digitsOf(value: Exact | undefined): string | null {
  return value instanceof Digits ? value.text : null;
}

function field(value: Exact | undefined, name: string): Exact | undefined {
  return isObject(value) ? value[name] : undefined;
}

function elements(value: Exact | undefined): readonly ExactObject[] {
  return isList(value) ? value.filter(isObject) : [];
}
