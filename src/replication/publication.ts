import { PgsyncError } from "../errors/error.ts";
import { errorContext, type Sql } from "../postgres/connect.ts";
import type { Session } from "../postgres/session.ts";
import { postgresError } from "../postgres/errors.ts";
import { type QualifiedName, quoteIdentifier, quoteQualified } from "../postgres/quote.ts";

/** Publications: which tables' changes the stream carries (https://www.postgresql.org/docs/current/sql-createpublication.html). */

/** What PostgreSQL says of a publication. */
export interface PublicationState {
  readonly name: string;
  /** FOR ALL TABLES: it holds every table there is and will be. */
  readonly allTables: boolean;
  /** The tables that it names, by schema and name. */
  readonly tables: readonly QualifiedName[];
  /** True where it holds more than whole tables: row filters, column lists, or whole schemas (PostgreSQL 15). */
  readonly partial: boolean;
  /** True where inserts, updates, deletes and truncates are all published. */
  readonly allOperations: boolean;
  /** Changes of partitions are published as changes of the root table. */
  readonly viaRoot: boolean;
  /** Stored generated columns are published; null where the server knows no such option (before 18). */
  readonly generatedColumns: boolean | null;
}

/** What a publication is to hold. */
export interface PublicationRequest {
  readonly name: string;
  /** For partitioned tables: the root alone. */
  readonly tables: readonly QualifiedName[];
  /** `server_version_num`, as 170004. */
  readonly version: number;
}

/** The first version that can publish generated columns. */
const GENERATED_COLUMNS_SINCE = 180_000;

/**
 * From version 18 on PostgreSQL refuses to update and delete rows of a table whose replica identity has a generated column
 * (FULL has all) that a publication of the table leaves out.
 */
function options(version: number): string {
  const common = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";
  return version < GENERATED_COLUMNS_SINCE ? common : `${common}, publish_generated_columns = stored`;
}

/**
 * Reads a publication; null where there is none of that name.
 *
 * @param version `server_version_num`, as 170004
 * @throws postgres.js' errors
 */
export async function describePublication(
  sql: Session,
  name: string,
  version: number,
): Promise<PublicationState | null> {
  const rows = await sql<PublicationRow[]>`
    SELECT oid::text AS oid, puballtables::text AS "allTables",
      (pubinsert AND pubupdate AND pubdelete AND pubtruncate)::text AS "allOperations",
      pubviaroot::text AS "viaRoot",
      -- A column since 18; by JSON a missing one is null.
      to_jsonb(pg_publication) ->> 'pubgencols' AS "generatedColumns"
    FROM pg_catalog.pg_publication
    WHERE pubname = ${name}`;
  const row = rows[0];
  if (row === undefined) return null;
  // Row filters and column lists are columns of pg_publication_rel since 15; by JSON a missing one is null.
  const tables = await sql<{ schema: string; table: string; partial: string }[]>`
    SELECT namespace.nspname::text AS schema, relation.relname::text AS "table",
      ((to_jsonb(member) ->> 'prqual') IS NOT NULL OR (to_jsonb(member) ->> 'prattrs') IS NOT NULL)::text AS partial
    FROM pg_catalog.pg_publication_rel AS member
    JOIN pg_catalog.pg_class AS relation ON relation.oid = member.prrelid
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = relation.relnamespace
    WHERE member.prpubid = ${row.oid}::oid
    ORDER BY 1, 2`;
  const schemas = version < 150_000 ? [] : await sql`
    SELECT 1 FROM pg_catalog.pg_publication_namespace WHERE pnpubid = ${row.oid}::oid LIMIT 1`;
  return {
    name,
    allTables: row.allTables === "true",
    tables: tables.map(({ schema, table }) => ({ schema, table })),
    partial: schemas.length > 0 || tables.some((table) => table.partial === "true"),
    allOperations: row.allOperations === "true",
    viaRoot: row.viaRoot === "true",
    generatedColumns: row.generatedColumns === null ? null : row.generatedColumns === "s",
  };
}

interface PublicationRow {
  readonly oid: string;
  readonly allTables: string;
  readonly allOperations: string;
  readonly viaRoot: string;
  readonly generatedColumns: string | null;
}

/**
 * The statements that make a publication hold exactly the tables asked for; none where it does already. One FOR ALL TABLES keeps
 * its tables: they cannot be named one by one, and what is not asked for is passed over in the stream.
 */
export function publicationSql(current: PublicationState | null, request: PublicationRequest): string[] {
  const name = quoteIdentifier(request.name);
  const tables = sortedUnique(request.tables).map(quoteQualified);
  if (current === null) {
    const forTables = tables.length === 0 ? "" : ` FOR TABLE ${tables.join(", ")}`;
    return [`CREATE PUBLICATION ${name}${forTables} WITH (${options(request.version)});`];
  }
  const statements = publicationOptionsSql(current, request.version);
  if (current.allTables) return statements;
  const held = sortedUnique(current.tables).map(quoteQualified);
  if (current.partial || held.join() !== tables.join()) {
    statements.push(
      tables.length === 0
        ? `ALTER PUBLICATION ${name} DROP TABLE ${held.join(", ")};`
        : `ALTER PUBLICATION ${name} SET TABLE ${tables.join(", ")};`,
    );
  }
  return statements;
}

/** The statement that gives a publication the options that it needs; none where it has them. */
export function publicationOptionsSql(current: PublicationState, version: number): string[] {
  if (current.allOperations && current.viaRoot && current.generatedColumns !== false) return [];
  return [`ALTER PUBLICATION ${quoteIdentifier(current.name)} SET (${options(version)});`];
}

/** Another publication that leaves out the generated columns of a table. */
export interface GeneratedLeftOut extends QualifiedName {
  readonly publication: string;
}

/**
 * Which other publications leave out the stored generated columns of their tables: those tables must not get REPLICA IDENTITY
 * FULL, or PostgreSQL would refuse to update and delete their rows.
 *
 * @param name of our own publication
 * @param version `server_version_num`, as 170004
 * @throws postgres.js' errors
 */
export async function readGeneratedLeftOut(
  sql: Session,
  name: string,
  version: number,
): Promise<GeneratedLeftOut[]> {
  if (version < GENERATED_COLUMNS_SINCE) return [];
  const rows = await sql<{ publication: string; schema: string; table: string }[]>`
    SELECT publication.pubname::text AS publication, member.schemaname::text AS schema, member.tablename::text AS "table"
    FROM pg_catalog.pg_publication AS publication
    JOIN pg_catalog.pg_publication_tables AS member ON member.pubname = publication.pubname
    WHERE publication.pubname <> ${name} AND publication.pubgencols <> 's'
      AND (publication.pubupdate OR publication.pubdelete)
    ORDER BY 1, 2, 3`;
  return rows.map(({ publication, schema, table }) => ({ publication, schema, table }));
}

/** The tables asked for whose changes the publication does not carry wholly; with null, all of them. */
export function missingTables(
  current: PublicationState | null,
  tables: readonly QualifiedName[],
): QualifiedName[] {
  if (current === null || !current.allOperations || !current.viaRoot) return sortedUnique(tables);
  if (current.allTables) return [];
  if (current.partial) return sortedUnique(tables);
  const held = new Set(current.tables.map(quoteQualified));
  return sortedUnique(tables).filter((table) => !held.has(quoteQualified(table)));
}

/**
 * Creates or alters the publication so that it holds exactly the tables; idempotent. Returns the statements that were run.
 *
 * @param sql an admin pool
 * @throws PgsyncError PRIVILEGE_MISSING with the SQL to give to the owner; else as `postgresError`
 */
export async function ensurePublication(
  sql: Sql,
  request: PublicationRequest,
): Promise<string[]> {
  let statements: string[] = [];
  try {
    return await sql.begin(async (transaction) => {
      statements = publicationSql(
        await describePublication(transaction, request.name, request.version),
        request,
      );
      for (const statement of statements) await transaction.unsafe(statement);
      return statements;
    });
  } catch (error) {
    throw withStatements(
      postgresError(error, errorContext(sql, `set up the publication "${request.name}"`)),
      statements,
    );
  }
}

/** The statement that drops a publication, as `plan` prints it. */
function dropPublicationSql(name: string): string {
  return `DROP PUBLICATION IF EXISTS ${quoteIdentifier(name)};`;
}

/**
 * Drops a publication if it exists.
 *
 * @returns whether there was one
 * @throws PgsyncError PRIVILEGE_MISSING with the SQL to give to the owner; else as `postgresError`
 */
export async function dropPublication(sql: Sql, name: string): Promise<boolean> {
  const statement = dropPublicationSql(name);
  try {
    const found = await sql`SELECT FROM pg_catalog.pg_publication WHERE pubname = ${name}`;
    await sql.unsafe(statement);
    return found.length > 0;
  } catch (error) {
    throw withStatements(postgresError(error, errorContext(sql, `drop the publication "${name}"`)), [
      statement,
    ]);
  }
}

function withStatements(error: PgsyncError, statements: readonly string[]): PgsyncError {
  if (error.code !== "PRIVILEGE_MISSING" || statements.length === 0) return error;
  return new PgsyncError("PRIVILEGE_MISSING", error.message, {
    remedy: `Have the owner of the tables, or a superuser, run: ${statements.join(" ")}`,
    cause: error.cause,
  });
}

/** Without repetitions, ordered by name, so that the same tables always give the same SQL. */
function sortedUnique(tables: readonly QualifiedName[]): QualifiedName[] {
  const byName = new Map(tables.map((table) => [quoteQualified(table), table]));
  return [...byName.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, table]) => table);
}
