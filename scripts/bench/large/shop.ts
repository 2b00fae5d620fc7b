/** The tables of the large changes: items in towns of countries, each of the first with a part and a note on it. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import postgres from "postgres";
import { temporaryFolder } from "../../servers/process.ts";
import type { BenchSchema } from "../candidates/pgsync.ts";

/** The database that the schema file names. */
export const DATABASE = "large";

/** How large everything is. */
export interface Size {
  /** Root rows. All of them lie in one country. */
  readonly items: number;
  /** Rows of each of the two tables below, one for each of the first items. */
  readonly rows: number;
}

const TOWNS = 1_000;

/** Makes and fills the tables. */
export async function fillShop(url: string, { items, rows }: Size): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    await sql.unsafe(`
      CREATE TABLE country (id int PRIMARY KEY, name text NOT NULL);
      CREATE TABLE town (id int PRIMARY KEY, country_id int NOT NULL REFERENCES country, name text NOT NULL);
      CREATE TABLE item (
        id bigint PRIMARY KEY, town_id int NOT NULL, title text NOT NULL, body text NOT NULL, amount int NOT NULL
      );
      CREATE TABLE part (id bigint PRIMARY KEY, item_id bigint NOT NULL, name text NOT NULL);
      CREATE TABLE note (id bigint PRIMARY KEY, part_id bigint NOT NULL, body text NOT NULL);
      INSERT INTO country VALUES (1, 'one country'), (2, 'another');
      INSERT INTO town SELECT id, 1, 'town ' || id FROM generate_series(1, ${TOWNS}) AS id;
      INSERT INTO item
        SELECT id, 1 + id % ${TOWNS}, 'item ' || id, repeat(md5(id::text), 8), id % 1000
        FROM generate_series(1, ${items}) AS id;
      INSERT INTO part SELECT id, id, 'part of ' || id FROM generate_series(1, ${rows}) AS id;
      INSERT INTO note SELECT id, id, 'note on ' || id FROM generate_series(1, ${rows}) AS id;
      CREATE INDEX ON town (country_id);
      CREATE INDEX ON item (town_id);
      CREATE INDEX ON part (item_id);
      CREATE INDEX ON note (part_id)`);
    await sql`VACUUM ANALYZE`;
  } finally {
    await sql.end();
  }
}

/** Writes the schema file. @param further documents of the same database beside the items, as the schema file has them */
export function writeShopSchema(further: readonly Record<string, unknown>[] = []): BenchSchema {
  const object = { type: "one_to_one", variant: "object" };
  const array = { type: "one_to_many", variant: "object" };
  const schema = [{
    database: DATABASE,
    index: DATABASE,
    nodes: {
      table: "item",
      columns: ["id", "title", "body", "amount"],
      children: [
        {
          table: "town",
          columns: ["id", "name"],
          relationship: { ...object, foreign_key: { parent: ["town_id"], child: ["id"] } },
          children: [{ table: "country", columns: ["id", "name"], relationship: object }],
        },
        {
          table: "part",
          label: "parts",
          columns: ["id", "name"],
          relationship: { ...array, foreign_key: { parent: ["id"], child: ["item_id"] } },
          children: [{
            table: "note",
            label: "notes",
            columns: ["id", "body"],
            relationship: { ...array, foreign_key: { parent: ["id"], child: ["part_id"] } },
          }],
        },
      ],
    },
  }, ...further.map((document) => ({ database: DATABASE, ...document }))];
  const file = join(temporaryFolder("large"), "schema.json");
  writeFileSync(file, JSON.stringify(schema, null, 2));
  return { file, indices: [DATABASE, ...further.map(({ index }) => String(index))] };
}
