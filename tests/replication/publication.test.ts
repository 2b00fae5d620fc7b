import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connectPostgres, type Sql } from "../../src/postgres/connect.ts";
import {
  describePublication,
  dropPublication,
  ensurePublication,
  missingTables,
  publicationSql,
  type PublicationState,
} from "../../src/replication/publication.ts";
import { databaseOf, optionsOf } from "../postgres/options.ts";
import { usePostgres } from "../support/postgres.ts";

const book = { schema: "public", table: "book" };
const rating = { schema: "public", table: "rating" };

const held: PublicationState = {
  name: "p",
  allTables: false,
  tables: [book],
  partial: false,
  allOperations: true,
  viaRoot: true,
  generatedColumns: null,
};

test("the SQL creates, alters only what differs, or is empty", () => {
  const options = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";
  assert.deepEqual(publicationSql(null, { name: "p", tables: [rating, book, book], version: 170_000 }), [
    `CREATE PUBLICATION "p" FOR TABLE "public"."book", "public"."rating" WITH (${options});`,
  ]);
  assert.deepEqual(publicationSql(held, { name: "p", tables: [book], version: 170_000 }), []);
  assert.deepEqual(publicationSql(held, { name: "p", tables: [book, rating], version: 170_000 }), [
    `ALTER PUBLICATION "p" SET TABLE "public"."book", "public"."rating";`,
  ]);
  assert.deepEqual(
    publicationSql({ ...held, viaRoot: false }, { name: "p", tables: [book], version: 170_000 }),
    [
      `ALTER PUBLICATION "p" SET (${options});`,
    ],
  );
  assert.deepEqual(
    publicationSql({ ...held, partial: true }, { name: "p", tables: [book], version: 170_000 }),
    [
      `ALTER PUBLICATION "p" SET TABLE "public"."book";`,
    ],
  );
  assert.deepEqual(
    publicationSql({ ...held, allTables: true, tables: [] }, { name: "p", tables: [book], version: 170_000 }),
    [],
  );
});

test("which tables are missing", () => {
  assert.deepEqual(missingTables(null, [rating, book]), [book, rating]);
  assert.deepEqual(missingTables(held, [rating, book]), [rating]);
  assert.deepEqual(missingTables({ ...held, allOperations: false }, [book]), [book]);
  assert.deepEqual(missingTables({ ...held, partial: true }, [book]), [book]);
  assert.deepEqual(missingTables({ ...held, allTables: true, tables: [] }, [book]), []);
});

for (const major of [15, 17] as const) {
  describe(`PostgreSQL ${major}`, () => {
    const version = major * 10_000;

    async function withDatabase(use: (sql: Sql) => Promise<void>): Promise<void> {
      const { url } = await (await usePostgres(major)).createDatabase();
      const purpose = { database: databaseOf(url), purpose: "test", max: 1, kind: "admin" } as const;
      const sql = connectPostgres(optionsOf(url), purpose);
      try {
        await sql.unsafe(
          "CREATE TABLE public.book (id int PRIMARY KEY); CREATE TABLE public.rating (id int PRIMARY KEY)",
        );
        await use(sql);
      } finally {
        await sql.end({ timeout: 1 });
      }
    }

    test("it is created, kept, altered to hold exactly the tables, and dropped", () =>
      withDatabase(async (sql) => {
        const name = `o'd"d`;
        assert.equal(await describePublication(sql, name, version), null);
        assert.equal((await ensurePublication(sql, { name, tables: [book, rating], version })).length, 1);
        assert.deepEqual(await ensurePublication(sql, { name, tables: [rating, book], version }), []);
        await ensurePublication(sql, { name, tables: [book], version });
        assert.deepEqual(await describePublication(sql, name, version), { ...held, name });
        await ensurePublication(sql, { name, tables: [], version });
        assert.deepEqual((await describePublication(sql, name, version))?.tables, []);
        await dropPublication(sql, name);
        await dropPublication(sql, name);
        assert.equal(await describePublication(sql, name, version), null);
      }));

    test("row filters, column lists, whole schemas and missing operations are mended", () =>
      withDatabase(async (sql) => {
        const statements = [
          "CREATE PUBLICATION p FOR TABLE public.book WHERE (id > 1)",
          "CREATE PUBLICATION p FOR TABLE public.book (id)",
          "CREATE PUBLICATION p FOR TABLES IN SCHEMA public",
          "CREATE PUBLICATION p FOR TABLE public.book WITH (publish = 'insert')",
        ];
        for (const statement of statements) {
          await sql.unsafe(statement);
          const before = await describePublication(sql, "p", version);
          assert.deepEqual(missingTables(before, [book]), [book], statement);
          await ensurePublication(sql, { name: "p", tables: [book], version });
          assert.deepEqual(await describePublication(sql, "p", version), held, statement);
          await dropPublication(sql, "p");
        }
      }));

    test("without the right to do so, the error holds the SQL for the owner", () =>
      withDatabase(async (sql) => {
        const role = `plain_${major}_${crypto.randomUUID().slice(0, 8)}`;
        await sql.unsafe(`CREATE ROLE ${role}; SET ROLE ${role}`);
        await assert.rejects(ensurePublication(sql, { name: "p", tables: [book], version }), {
          code: "PRIVILEGE_MISSING",
          remedy: /run: CREATE PUBLICATION "p" FOR TABLE "public"\."book" WITH/,
        });
        await sql.unsafe(`RESET ROLE; DROP ROLE ${role}`);
      }));
  });
}
