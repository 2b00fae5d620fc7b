import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import postgres from "postgres";
import { readCatalog } from "../../src/catalog/read.ts";
import type { Catalog, Column, Relation } from "../../src/catalog/types.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import { eventually } from "../support/eventually.ts";
import { ownPostgres, type TestDatabase, usePostgres, withDatabase } from "../support/postgres.ts";

const TABLES = `
  CREATE EXTENSION citext;
  CREATE SCHEMA other;
  CREATE SCHEMA "Odd ""schema";
  CREATE TYPE mood AS ENUM ('well', 'ill');
  CREATE DOMAIN email AS citext;
  CREATE DOMAIN work_email AS email;
  CREATE DOMAIN positive AS int CHECK (VALUE > 0);
  CREATE DOMAIN positives AS positive[];
  CREATE TYPE address AS (street text, zip numeric);
  CREATE COLLATION ignoring_accents (provider = icu, locale = 'und-u-ks-level1', deterministic = false);

  CREATE TABLE publisher (id int PRIMARY KEY, code varchar(8) NOT NULL UNIQUE, parent_id int REFERENCES publisher);
  CREATE TABLE book (
    id bigint PRIMARY KEY, isbn text UNIQUE, publisher_id int NOT NULL REFERENCES publisher,
    publisher_code varchar(8) REFERENCES publisher (code), price numeric(10, 2), twice numeric GENERATED ALWAYS AS (price * 2) STORED
  );
  CREATE TABLE other.book (id int);
  CREATE TABLE "Odd ""schema"."We ird'->t" ("I, d{}" int PRIMARY KEY);
  CREATE TABLE types (
    work work_email, moods mood[], numbers positives, home address, homes address[], price numeric(10, 2), code char(3),
    accents text COLLATE ignoring_accents, plain text, span numrange, days daterange, span_of_time interval, at timestamptz(3),
    flags bit(3), key uuid, size float8
  );
  CREATE VIEW books AS SELECT * FROM book;
  CREATE MATERIALIZED VIEW some_books AS SELECT * FROM book;
`;

const PARTITIONS = `
  CREATE TABLE event (id int, kind int, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
  CREATE TABLE event_1 PARTITION OF event FOR VALUES IN (1) PARTITION BY RANGE (id);
  CREATE TABLE event_1_low PARTITION OF event_1 FOR VALUES FROM (0) TO (100);
  CREATE TABLE event_1_high PARTITION OF event_1 FOR VALUES FROM (100) TO (200);
  CREATE TABLE event_2 PARTITION OF event FOR VALUES IN (2);
  ALTER TABLE event_2 REPLICA IDENTITY FULL;
  CREATE TABLE note (id int, event_id int, event_kind int, FOREIGN KEY (event_id, event_kind) REFERENCES event (id, kind))
    PARTITION BY RANGE (id);
  CREATE TABLE note_low PARTITION OF note FOR VALUES FROM (0) TO (100);
  INSERT INTO event SELECT n, 1 + n % 2 FROM generate_series(0, 199) n;
  ANALYZE event;
`;

for (const major of [15, 17] as const) {
  describe(`the catalog of PostgreSQL ${major}`, () => {
    let database: TestDatabase;
    let sql: postgres.Sql;
    let catalog: Catalog;

    before(async () => {
      database = await (await usePostgres(major)).createDatabase();
      sql = postgres(database.url, { max: 2, onnotice: () => {} });
      await sql.unsafe(TABLES + PARTITIONS);
      const tables = [
        ...["publisher", "book", "types", "books", "some_books", "event", "note", "note_low", "nothing"],
      ].map((table) => ({ schema: "public", table }));
      catalog = await readCatalog(sql, [
        ...tables,
        { schema: "other", table: "book" },
        { schema: 'Odd "schema', table: "We ird'->t" },
      ]);
    });

    after(() => sql?.end({ timeout: 1 }));

    function relation(table: string, schema = "public"): Relation {
      const found = catalog.relation({ schema, table });
      assert.ok(found, `${schema}.${table}`);
      return found;
    }

    function column(table: string, name: string): Column {
      const found = relation(table).columns.find((candidate) => candidate.name === name);
      assert.ok(found, `${table}.${name}`);
      return found;
    }

    it("tells versions, settings and the role's rights", () => {
      const { server } = catalog;
      assert.equal(Math.floor(server.versionNumber / 10000), major);
      assert.match(server.version, new RegExp(`^${major}\\.\\d+$`));
      assert.equal(server.database, database.name);
      assert.equal(server.role, "postgres");
      assert.ok(server.isSuperuser && server.canReplicate && server.canCreate);
      assert.equal(server.walLevel, "logical");
      assert.ok(server.maxReplicationSlots > 0 && server.maxWalSenders > 0);
      assert.match(server.systemIdentifier, /^\d{15,}$/);
      assert.equal(server.timeline, 1);
      assert.equal(server.inRecovery, false);
      assert.equal(server.encoding, "UTF8");
      assert.equal(server.blockSize, 8192);
    });

    it("counts the slots in use", async () => {
      const slot = `counted_${database.name}`;
      await sql`SELECT pg_create_logical_replication_slot(${slot}, 'pgoutput')`;
      const { usedReplicationSlots } = (await readCatalog(sql, [])).server;
      await sql`SELECT pg_drop_replication_slot(${slot})`;
      // Other tests share the server and may hold more.
      assert.ok(usedReplicationSlots >= 1);
    });

    it("knows the identity that a replication connection tells", async () => {
      const replication = postgres(database.url, {
        max: 1,
        fetch_types: false,
        connection: { replication: "database" },
      });
      const [row] = await replication.unsafe("IDENTIFY_SYSTEM");
      await replication.end({ timeout: 1 });
      assert.equal(catalog.server.systemIdentifier, row?.["systemid"]);
      assert.equal(catalog.server.timeline, Number(row?.["timeline"]));
    });

    it("has nothing for a name that does not exist, but near ones to suggest", () => {
      assert.equal(catalog.relation({ schema: "public", table: "nothing" }), null);
      assert.deepEqual(catalog.suggest({ schema: "public", table: "pubisher" }), [
        { schema: "public", table: "publisher" },
      ]);
      assert.deepEqual(catalog.suggest({ schema: "nowhere", table: "book" }), [
        { schema: "other", table: "book" },
        { schema: "public", table: "book" },
      ]);
    });

    it("tells tables of one name in two schemas apart, and takes names with any characters", () => {
      assert.deepEqual(relation("book", "other").columns.map(({ name }) => name), ["id"]);
      assert.deepEqual(relation("We ird'->t", 'Odd "schema').primaryKey, ["I, d{}"]);
    });

    it("tells the kinds of relations and what holds their rows", () => {
      assert.equal(relation("book").kind, "table");
      assert.equal(relation("books").kind, "view");
      assert.deepEqual(relation("books").heaps, []);
      assert.equal(relation("some_books").kind, "materialized view");
      assert.equal(relation("some_books").heaps.length, 1);
      const [heap] = relation("book").heaps;
      assert.ok(heap !== undefined && heap.filenode > 0 && heap.tidRange);
      assert.equal(heap.oid, relation("book").oid);
    });

    it("resolves domains, arrays, enums, ranges and composites", () => {
      assert.deepEqual(
        Object.fromEntries(
          relation("types").columns.map((
            { name, type },
          ) => [name, `${type.category} ${type.name} ${type.sql}`]),
        ),
        {
          work: "base citext public.work_email",
          moods: "array _mood public.mood[]",
          numbers: "array _positive public.positives",
          home: "composite address public.address",
          homes: "array _address public.address[]",
          // Without the modifier: a cast to it must neither round nor cut.
          price: "base numeric numeric",
          code: "base bpchar bpchar",
          accents: "base text text",
          plain: "base text text",
          span: "range numrange numrange",
          days: "range daterange daterange",
          span_of_time: "base interval interval",
          at: "base timestamptz timestamp with time zone",
          flags: 'base bit "bit"',
          key: "base uuid uuid",
          size: "base float8 double precision",
        },
      );
      assert.equal(column("types", "moods").type.element?.category, "enum");
      assert.equal(column("types", "numbers").type.element?.name, "int4");
      assert.deepEqual(
        column("types", "homes").type.element?.attributes?.map(({ name, type }) => [name, type.name]),
        [["street", "text"], ["zip", "numeric"]],
      );
    });

    it("tells which equal values may print differently", () => {
      const differing = relation("types").columns.filter(({ type }) => !type.equalityIsIdentity);
      assert.deepEqual(
        differing.map(({ name }) => name),
        ["work", "home", "homes", "price", "code", "accents", "span", "span_of_time", "size"],
      );
    });

    it("names the equality operator that an empty search_path would hide", async () => {
      const { equals } = column("types", "work").type;
      assert.equal(equals, "OPERATOR(public.=)");
      assert.equal(column("types", "plain").type.equals, undefined);
      const [row] = await sql.begin(async (transaction) => {
        await transaction`SET LOCAL search_path = ''`;
        return await transaction.unsafe(
          `SELECT 'A'::public.citext ${equals} 'a'::public.work_email AS own, 'A'::public.citext = 'a'::public.citext AS hidden`,
        );
      });
      assert.deepEqual({ ...row }, { own: true, hidden: false });
    });

    it("lists columns in their order, generated ones marked", () => {
      assert.deepEqual(
        relation("book").columns.map((
          { name, number, notNull, generated },
        ) => [name, number, notNull, generated]),
        [
          ["id", 1, true, false],
          ["isbn", 2, false, false],
          ["publisher_id", 3, true, false],
          ["publisher_code", 4, false, false],
          ["price", 5, false, false],
          ["twice", 6, false, true],
        ],
      );
    });

    it("takes only unique indexes that make plain columns unique, at once", async () => {
      await sql.unsafe(`
        CREATE TABLE indexed (a int NOT NULL, b int NOT NULL, c int, d int, UNIQUE (d) DEFERRABLE);
        CREATE UNIQUE INDEX plain ON indexed (b, a) INCLUDE (c);
        CREATE UNIQUE INDEX nullable ON indexed (c);
        CREATE UNIQUE INDEX partial ON indexed (a) WHERE c > 0;
        CREATE UNIQUE INDEX expression ON indexed ((a + b));
        CREATE INDEX mixed ON indexed (a, (b + 1), c);
        CREATE INDEX brin ON indexed USING brin (c);
        ALTER TABLE indexed REPLICA IDENTITY USING INDEX plain;
      `);
      const found = (await readCatalog(sql, [{ schema: "public", table: "indexed" }])).relations[0];
      assert.deepEqual(found?.uniqueIndexes, [
        { name: "nullable", columns: ["c"], allNotNull: false, primary: false },
        { name: "plain", columns: ["b", "a"], allNotNull: true, primary: false },
      ]);
      assert.deepEqual(found?.indexes.map(({ name, columns }) => [name, ...columns]), [
        ["indexed_d_key", "d"],
        ["mixed", "a"],
        ["nullable", "c"],
        ["plain", "b", "a"],
      ]);
      assert.deepEqual(found?.replicaIdentity, { kind: "index", columns: ["b", "a"] });
    });

    it("reads foreign keys, to unique columns and to the table itself too", () => {
      const keys = (table: string) =>
        relation(table).foreignKeys.map((key) =>
          `${key.columns} -> ${key.target.schema}.${key.target.table}(${key.targetColumns})`
        );
      assert.deepEqual(keys("book"), [
        "publisher_code -> public.publisher(code)",
        "publisher_id -> public.publisher(id)",
      ]);
      assert.deepEqual(keys("publisher"), ["parent_id -> public.publisher(id)"]);
    });

    it("names a foreign key between partitioned tables once, on the parent and on each partition", () => {
      for (const table of ["note", "note_low"]) {
        assert.deepEqual(
          relation(table).foreignKeys.map(({ columns, target, targetColumns }) => ({
            columns,
            target,
            targetColumns,
          })),
          [{
            columns: ["event_id", "event_kind"],
            target: { schema: "public", table: "event" },
            targetColumns: ["id", "kind"],
          }],
        );
      }
    });

    it("lists the leaf partitions at any depth, with sizes, estimates and identities of their own", () => {
      const { kind, primaryKey, heaps, estimatedRows } = relation("event");
      assert.equal(kind, "partitioned");
      assert.deepEqual(primaryKey, ["id", "kind"]);
      assert.deepEqual(
        heaps.map(({ table, pages, estimatedRows, replicaIdentity }) => [
          table,
          pages,
          estimatedRows,
          replicaIdentity.kind,
          ...replicaIdentity.columns,
        ]),
        [
          ["event_1_high", 1, 50, "default", "id", "kind"],
          ["event_1_low", 1, 50, "default", "id", "kind"],
          ["event_2", 1, 100, "full", "id", "kind"],
        ],
      );
      assert.equal(estimatedRows, 200);
    });

    it("knows what each kind of replica identity carries", async () => {
      await sql.unsafe(`
        CREATE TABLE full_row (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a) STORED);
        ALTER TABLE full_row REPLICA IDENTITY FULL;
        CREATE TABLE none (id int PRIMARY KEY);
        ALTER TABLE none REPLICA IDENTITY NOTHING;
        CREATE TABLE keyless (id int);
        CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE);
        CREATE TABLE dropped (id int NOT NULL);
        CREATE UNIQUE INDEX dropped_index ON dropped (id);
        ALTER TABLE dropped REPLICA IDENTITY USING INDEX dropped_index;
        DROP INDEX dropped_index;
      `);
      const names = ["full_row", "none", "keyless", "deferred", "dropped"];
      const found = await readCatalog(sql, names.map((table) => ({ schema: "public", table })));
      assert.deepEqual(
        Object.fromEntries(found.relations.map(({ table, replicaIdentity }) => [table, replicaIdentity])),
        {
          deferred: { kind: "default", columns: [] },
          dropped: { kind: "index", columns: [] },
          full_row: { kind: "full", columns: ["id", "a"] },
          keyless: { kind: "default", columns: [] },
          none: { kind: "nothing", columns: [] },
        },
      );
      assert.deepEqual(found.relation({ schema: "public", table: "deferred" })?.primaryKey, ["id"]);
    });

    it("sees a role's own rights: tables, columns, ownership, replication", async () => {
      const role = `plain_${database.name}`;
      await sql.unsafe(`
        CREATE ROLE ${role} LOGIN;
        GRANT USAGE ON SCHEMA public TO ${role};
        GRANT SELECT ON publisher TO ${role};
        GRANT SELECT (id, isbn) ON book TO ${role};
        CREATE TABLE by_column (a int, b int);
        GRANT SELECT (a), SELECT (b) ON by_column TO ${role};
        GRANT SELECT ON other.book TO ${role};
        CREATE TABLE own (id int);
        ALTER TABLE own OWNER TO ${role};
      `);
      const plain = postgres(withDatabase(database.url, database.name, role), { max: 1 });
      const found = await readCatalog(plain, [
        ...["publisher", "book", "by_column", "own"].map((table) => ({ schema: "public", table })),
        { schema: "other", table: "book" },
      ]);
      await plain.end({ timeout: 1 });
      await sql.unsafe(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
      assert.deepEqual(
        found.relations.map(({ schema, table, canSelect, isOwner }) => ({
          schema,
          table,
          canSelect,
          isOwner,
        })),
        [
          { schema: "other", table: "book", canSelect: false, isOwner: false },
          { schema: "public", table: "book", canSelect: false, isOwner: false },
          { schema: "public", table: "by_column", canSelect: true, isOwner: false },
          { schema: "public", table: "own", canSelect: true, isOwner: true },
          { schema: "public", table: "publisher", canSelect: true, isOwner: false },
        ],
      );
      assert.equal(found.relation({ schema: "public", table: "publisher" })?.owner, "postgres");
      const { isSuperuser, canReplicate, canCreate, systemIdentifier } = found.server;
      assert.deepEqual({ isSuperuser, canReplicate, canCreate }, {
        isSuperuser: false,
        canReplicate: false,
        canCreate: false,
      });
      assert.equal(systemIdentifier, catalog.server.systemIdentifier);
    });

    it("says what to grant where the cluster's identity may not be read", async () => {
      const role = `denied_${database.name}`;
      await sql.unsafe(
        `CREATE ROLE ${role} LOGIN; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC`,
      );
      const plain = postgres(withDatabase(database.url, database.name, role), { max: 1 });
      await assert.rejects(readCatalog(plain, []), (error) => {
        assert.ok(error instanceof PgsyncError);
        assert.equal(error.code, "PRIVILEGE_MISSING");
        assert.equal(error.remedy, `GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO "${role}";`);
        return true;
      });
      await plain.end({ timeout: 1 });
      await sql.unsafe(`GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC; DROP ROLE ${role}`);
    });
  });
}

describe("a promoted standby", () => {
  it("writes a new timeline, which is seen before its first checkpoint", async () => {
    const server = await ownPostgres({ major: 17 });
    await server.halt();
    writeFileSync(join(server.dataDirectory, "standby.signal"), "");
    // It is not ready for writing, for which start() waits, until it is promoted.
    const started = server.start();
    const sql = postgres(server.url, { max: 1, onnotice: () => {} });
    await eventually(async () => {
      assert.equal((await readCatalog(sql, [])).server.inRecovery, true);
    }, { what: "the standby to answer" });
    assert.equal((await readCatalog(sql, [])).server.timeline, 1);
    const [checkpointer] = await sql`SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'`;
    const pid = Number(checkpointer?.["pid"]);
    process.kill(pid, "SIGSTOP");
    try {
      await sql`SELECT pg_promote()`;
      const { inRecovery, timeline } = (await readCatalog(sql, [])).server;
      assert.deepEqual({ inRecovery, timeline }, { inRecovery: false, timeline: 2 });
      const [controlFile] = await sql`SELECT timeline_id FROM pg_control_checkpoint()`;
      assert.equal(controlFile?.["timeline_id"], 1);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await sql.end({ timeout: 1 });
    await started;
    await server.stop("immediate");
  });
});
