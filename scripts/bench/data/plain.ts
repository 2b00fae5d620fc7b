/** Tables that PostgreSQL itself fills. */
import postgres from "postgres";
import { DATABASE, fillShop, writeShopSchema } from "../large/shop.ts";
import { writeSchema } from "./bookshop.ts";
import { type Dataset, integerProbe } from "./dataset.ts";

/** One table of five columns and nothing else: 120 bytes a document. */
export function narrowTable(rows: number): Dataset {
  const name = "narrow";
  return {
    name,
    schema: writeSchema([{
      database: name,
      index: name,
      nodes: { table: "event", columns: ["id", "kind", "amount", "happened_at", "note"] },
    }]),
    documents: [rows],
    fill: (url) =>
      run(
        url,
        `CREATE TABLE event (
          id bigint PRIMARY KEY, kind text NOT NULL, amount integer NOT NULL, happened_at timestamp NOT NULL, note text
        );
        INSERT INTO event
          SELECT id, 'kind ' || id % 20, id % 1000, timestamp '2024-01-01' + id * interval '1 second', md5(id::text)
          FROM generate_series(1, ${rows}) AS id`,
      ),
    probe: integerProbe(
      "1",
      "amount",
      (sql, value) => sql`UPDATE event SET amount = ${value} WHERE id = 1`,
    ),
  };
}

/** Items that all lie in one country, two tables away. */
export function oneCountry(items: number): Dataset {
  return {
    name: DATABASE,
    schema: writeShopSchema(),
    documents: [items],
    fill: (url) => fillShop(url, { items, rows: Math.min(items, 1_000) }),
    probe: integerProbe("1", "amount", (sql, value) => sql`UPDATE item SET amount = ${value} WHERE id = 1`),
  };
}

/** A table that no document uses, and two that have a column which none uses. */
export function unusedParts(items: number): Dataset {
  const name = "unused";
  const relationship = { type: "one_to_many", variant: "object" };
  return {
    name,
    schema: writeSchema([{
      database: name,
      index: name,
      nodes: {
        table: "item",
        columns: ["id", "title", "amount"],
        children: [{ table: "part", label: "parts", columns: ["id", "name"], relationship }],
      },
    }]),
    documents: [items],
    fill: (url) =>
      run(
        url,
        `CREATE TABLE item (id bigint PRIMARY KEY, title text NOT NULL, amount integer NOT NULL, remark text NOT NULL);
        CREATE TABLE part (
          id bigint PRIMARY KEY, item_id bigint NOT NULL REFERENCES item, name text NOT NULL, remark text NOT NULL
        );
        CREATE TABLE audit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, entry text NOT NULL);
        INSERT INTO item SELECT id, 'item ' || id, 0, '' FROM generate_series(1, ${items}) AS id;
        INSERT INTO part SELECT id, id, 'part ' || id, '' FROM generate_series(1, ${items}) AS id;
        CREATE INDEX ON part (item_id)`,
      ),
    probe: integerProbe("1", "amount", (sql, value) => sql`UPDATE item SET amount = ${value} WHERE id = 1`),
  };
}

async function run(url: string, statements: string): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    await sql.unsafe(statements);
    await sql`VACUUM ANALYZE`;
  } finally {
    await sql.end();
  }
}
