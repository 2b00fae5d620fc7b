/** The bookshop's rows: made up, but the same ones for the same number of books. */
import { type Random, randomOf } from "./random.ts";
import {
  ADJECTIVES,
  FIRST_NAMES,
  LAST_NAMES,
  NOUNS,
  OPINIONS,
  PUBLISHER_ENDINGS,
  SUBJECTS,
  TAGS,
  WORLD,
} from "./words.ts";

/** A value as it goes into a column: a list becomes an array, an object becomes JSON, a date is text. */
export type Value = string | number | bigint | boolean | null | readonly string[] | {
  readonly [key: string]: number;
};

/** One table's columns, and its rows in the same order of columns. */
export interface Table {
  readonly name: string;
  readonly columns: readonly string[];
  /** Rows for a shop of that many books. */
  rows(books: number): Iterable<readonly Value[]>;
}

const DAY_MS = 86_400_000;
const FIRST_DAY = Date.UTC(1950, 0, 1);
const FIRST_INSTANT = Date.UTC(2024, 0, 1);

/** One publisher for 200 books, but 20 at least. */
function publisherCount(books: number): number {
  return Math.max(20, Math.ceil(books / 200));
}

/** One author for 4 books, but 50 at least. */
function authorCount(books: number): number {
  return Math.max(50, Math.ceil(books / 4));
}

const CITIES = WORLD.flatMap(([, countries]) => countries).reduce(
  (sum, [, , cities]) => sum + cities.length,
  0,
);

/** All tables, in the order in which foreign keys allow them to be filled. */
export const TABLES: readonly Table[] = [
  {
    name: "continent",
    columns: ["id", "name"],
    *rows() {
      for (const [index, [name]] of WORLD.entries()) yield [index + 1, name];
    },
  },
  {
    name: "country",
    columns: ["id", "name", "code", "continent_id"],
    *rows() {
      let id = 0;
      for (const [index, [, countries]] of WORLD.entries()) {
        for (const [name, code] of countries) yield [++id, name, code, index + 1];
      }
    },
  },
  {
    name: "city",
    columns: ["id", "name", "country_id"],
    *rows() {
      let id = 0;
      for (const [index, [, , cities]] of WORLD.flatMap(([, countries]) => countries).entries()) {
        for (const name of cities) yield [++id, name, index + 1];
      }
    },
  },
  {
    name: "publisher",
    columns: ["id", "name", "founded_on", "is_active"],
    *rows(books) {
      for (let id = 1; id <= publisherCount(books); id++) {
        const random = randomOf("publisher", id);
        const name = `${random.pick(LAST_NAMES)} ${random.pick(PUBLISHER_ENDINGS)}`;
        yield [id, name, random.chance(0.1) ? null : day(random, -36_500, 20_000), random.chance(0.9)];
      }
    },
  },
  {
    name: "author",
    columns: ["id", "name", "date_of_birth", "city_id"],
    *rows(books) {
      for (let id = 1; id <= authorCount(books); id++) {
        const random = randomOf("author", id);
        const name = `${random.pick(FIRST_NAMES)} ${random.pick(LAST_NAMES)}`;
        const bornOn = random.chance(0.2) ? null : day(random, -15_000, 18_000);
        yield [id, name, bornOn, random.chance(0.05) ? null : random.whole(1, CITIES)];
      }
    },
  },
  {
    name: "book",
    columns: [
      ...["isbn", "title", "description", "price", "pages", "weight_kg", "in_stock", "published_on"],
      ...["catalogue_number", "tags", "dimensions", "updated_at", "publisher_id"],
    ],
    *rows(books) {
      for (let index = 0; index < books; index++) yield bookRow(index, books);
    },
  },
  {
    name: "book_author",
    columns: ["book_isbn", "author_id", "position"],
    *rows(books) {
      for (let index = 0; index < books; index++) {
        const random = randomOf("book_author", index);
        const isbn = isbnOf(index);
        const wanted = random.pick([...AUTHORS_OF_A_BOOK]);
        const chosen = new Set<number>();
        for (let position = 1; position <= wanted; position++) {
          const author = random.whole(1, authorCount(books));
          if (chosen.has(author)) continue;
          chosen.add(author);
          yield [isbn, author, position];
        }
      }
    },
  },
  {
    name: "rating",
    columns: ["id", "book_isbn", "stars", "reviewer", "comment", "created_at"],
    *rows(books) {
      let id = 0;
      for (let index = 0; index < books; index++) {
        const random = randomOf("rating", index);
        const isbn = isbnOf(index);
        const count = random.chance(0.1) ? 0 : random.whole(1, 6);
        for (let i = 0; i < count; i++) {
          const reviewer = `${random.pick(FIRST_NAMES).toLowerCase()}${random.whole(1, 999)}`;
          const comment = random.chance(0.3) ? null : random.pick(OPINIONS);
          yield [++id, isbn, random.whole(1, 5), reviewer, comment, instant(random)];
        }
      }
    },
  },
];

/** How many authors a book has, each as often as it is to happen; a book without an author happens too. */
const AUTHORS_OF_A_BOOK = [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4] as const;

function bookRow(index: number, books: number): readonly Value[] {
  const random = randomOf("book", index);
  const pages = random.whole(24, 1_400);
  return [
    isbnOf(index),
    title(random),
    random.chance(0.1) ? null : description(random),
    random.chance(0.02) ? null : `${random.whole(3, 89)}.${random.pick(["00", "50", "90", "95", "99"])}`,
    pages,
    random.chance(0.05) ? null : pages / 700 + random.whole(0, 100) / 1_000,
    random.chance(0.8),
    random.chance(0.03) ? null : day(random, 0, 27_000),
    // Odd numbers above 2^53, which a double would round.
    9_007_199_254_740_993n + 2n * BigInt(index),
    tags(random),
    random.chance(0.1) ? null : { width_mm: random.whole(90, 260), height_mm: random.whole(140, 340) },
    instant(random),
    random.chance(0.01) ? null : random.whole(1, publisherCount(books)),
  ];
}

/** The number of a book: 978, nine digits that look like chance but never repeat, and the check digit. */
export function isbnOf(index: number): string {
  // 618,033,989 and 10^9 have no common factor, so this is a permutation of all nine-digit numbers.
  const digits = `978${
    String((BigInt(index) * 618_033_989n + 271_828_182n) % 1_000_000_000n).padStart(9, "0")
  }`;
  const sum = [...digits].reduce(
    (total, digit, place) => total + Number(digit) * (place % 2 === 0 ? 1 : 3),
    0,
  );
  return digits + String((10 - sum % 10) % 10);
}

function title(random: Random): string {
  const noun = random.pick(NOUNS);
  switch (random.whole(0, 6)) {
    case 0:
      return `The ${random.pick(ADJECTIVES)} ${noun}`;
    case 1:
      return `A Short History of ${random.pick(SUBJECTS)}`;
    case 2:
      return `${noun} and ${random.pick(NOUNS)}`;
    case 3:
      return `Letters from the ${random.pick(ADJECTIVES)} ${noun}`;
    case 4:
      return `${random.pick(SUBJECTS)} for the ${random.pick(ADJECTIVES)} ${noun}`;
    case 5:
      return `${random.pick(FIRST_NAMES)}'s ${noun}`;
    default:
      return `“${random.pick(ADJECTIVES)} ${noun}”`;
  }
}

function description(random: Random): string {
  const sentence = () =>
    `${random.pick(FIRST_NAMES)} finds a ${random.pick(ADJECTIVES).toLowerCase()} ${
      random.pick(NOUNS).toLowerCase()
    } and learns ` +
    `that every ${random.pick(NOUNS).toLowerCase()} has its ${random.pick(NOUNS).toLowerCase()}.`;
  return Array.from({ length: random.whole(1, 3) }, sentence).join(" ");
}

function tags(random: Random): readonly string[] | null {
  if (random.chance(0.05)) return null;
  const count = random.whole(0, 4);
  return [...new Set(Array.from({ length: count }, () => random.pick(TAGS)))];
}

/** A date, so many days after 1 January 1950. */
function day(random: Random, from: number, to: number): string {
  return new Date(FIRST_DAY + random.whole(from, to) * DAY_MS).toISOString().slice(0, 10);
}

/** An instant of 2024 in UTC, with and without fractions of a second. */
function instant(random: Random): string {
  const text = new Date(FIRST_INSTANT + random.whole(0, 31_535_999) * 1_000).toISOString().slice(0, 19);
  return `${text}${random.chance(0.5) ? `.${String(random.whole(1, 999_999)).padStart(6, "0")}` : ""}+00`;
}
