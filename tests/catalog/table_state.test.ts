import assert from "node:assert/strict";
import { test } from "node:test";
import postgres from "postgres";
import { readTableStates } from "../../src/catalog/table_state.ts";
import type { Session } from "../../src/postgres/session.ts";
import { usePostgres } from "../support/postgres.ts";

const TABLES = ["whole", "divided"].map((table) => ({ schema: "public", table }));

for (const major of [15, 17] as const) {
  test(`PostgreSQL ${major}: tables are described as one snapshot sees them, while another session writes them anew`, async () => {
    const database = await (await usePostgres(major)).createDatabase();
    const sql = postgres(database.url, { max: 2, onnotice: () => {} });
    try {
      await sql.unsafe(`
        CREATE TABLE whole (id int PRIMARY KEY, price numeric(10, 2));
        CREATE TABLE divided (id int PRIMARY KEY, price numeric(10, 2)) PARTITION BY LIST (id);
        CREATE TABLE part PARTITION OF divided DEFAULT;
        CREATE PUBLICATION everything FOR ALL TABLES`);
      const read = (session: Session) => readTableStates(session, TABLES, "everything");
      await sql.begin("ISOLATION LEVEL REPEATABLE READ", async (snapshot) => {
        const before = await read(snapshot);
        await sql.unsafe(`
          ALTER TABLE whole ALTER COLUMN price TYPE numeric(10, 3);
          ALTER TABLE divided ALTER COLUMN price TYPE numeric(10, 3)`);
        // Else a new file would be known with the old definition, and the next look would find the file unchanged.
        assert.deepEqual(await read(snapshot), before);
        const after = await read(sql);
        for (const [at, state] of after.entries()) {
          assert.notDeepEqual(state.columns, before[at]?.columns);
          const file = ({ filenode, leaves }: typeof state) => filenode === 0 ? leaves : filenode;
          assert.notDeepEqual(file(state), before[at] === undefined ? null : file(before[at]));
        }
      });
    } finally {
      await sql.end();
      await database.drop();
    }
  });
}
