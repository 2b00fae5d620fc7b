import assert from "node:assert/strict";
import { test } from "node:test";
import postgres from "postgres";
import { loadBookshop } from "../../examples/bookshop/load.ts";
import { isbnOf, TABLES } from "../../examples/bookshop/rows.ts";
import { usePostgres } from "../support/postgres.ts";

test("the rows are the same every time", () => {
  for (const table of TABLES) assert.deepEqual([...table.rows(300)], [...table.rows(300)], table.name);
});

test("each book has an ISBN of its own, with the right check digit", () => {
  const all = Array.from({ length: 20_000 }, (_, index) => isbnOf(index));
  assert.equal(new Set(all).size, all.length);
  for (const isbn of all) {
    const sum = [...isbn].reduce(
      (total, digit, place) => total + Number(digit) * (place % 2 === 0 ? 1 : 3),
      0,
    );
    assert.ok(/^978\d{10}$/.test(isbn) && sum % 10 === 0, isbn);
  }
});

test("the shop holds what a document must cope with: nulls, empty lists, big numbers, all of Unicode", async () => {
  const database = await (await usePostgres(17)).createDatabase();
  const counts = await loadBookshop({ url: database.url, books: 2_000 });
  const sql = postgres(database.url, { max: 1 });
  try {
    assert.equal(counts.get("book"), 2_000);
    const [facts] = await sql`
      SELECT
        count(*) FILTER (WHERE publisher_id IS NULL) > 0 AS without_publisher,
        count(*) FILTER (WHERE NOT EXISTS (SELECT FROM book_author WHERE book_isbn = isbn)) > 0 AS without_author,
        count(*) FILTER (WHERE NOT EXISTS (SELECT FROM rating WHERE book_isbn = isbn)) > 0 AS without_rating,
        count(*) FILTER (WHERE tags = '{}') > 0 AS without_tags,
        min(catalogue_number) > 2::numeric ^ 53 AS big_numbers
      FROM book`;
    assert.deepEqual({ ...facts }, {
      without_publisher: true,
      without_author: true,
      without_rating: true,
      without_tags: true,
      big_numbers: true,
    });
    const [line] = await sql`SELECT comment FROM rating WHERE comment LIKE '%slash%' LIMIT 1`;
    assert.equal(line?.["comment"], "Tab\tseparated thoughts, and a back\\slash.");
  } finally {
    await sql.end({ timeout: 1 });
  }
});

test("the rows obey the foreign keys that the load does not check", async () => {
  const database = await (await usePostgres(17)).createDatabase();
  await loadBookshop({ url: database.url, books: 1_000 });
  const sql = postgres(database.url, { max: 1 });
  try {
    const keys =
      await sql`SELECT conrelid::regclass::text AS table, conname AS name, pg_get_constraintdef(oid) AS definition
      FROM pg_constraint WHERE contype = 'f'`;
    assert.equal(keys.length, 7);
    for (const { table, name, definition } of keys) {
      // Adding the constraint again checks all rows.
      await sql.unsafe(`ALTER TABLE ${table} DROP CONSTRAINT ${name}, ADD CONSTRAINT ${name} ${definition}`);
    }
  } finally {
    await sql.end({ timeout: 1 });
  }
});
