import type { ReservedSql, Sql } from "postgres";
import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import { type Session, transactionOn } from "../postgres/session.ts";
import type { QualifiedName } from "../schema/tree.ts";
import { buildRelations, makeCatalog } from "./build.ts";
import * as queries from "./queries.ts";
import {
  columnRow,
  foreignKeyRow,
  heapRow,
  identityRow,
  indexRow,
  nameRow,
  relationRow,
  serverRow,
  typeRow,
} from "./rows.ts";
import type { Catalog, Relation, ServerFacts } from "./types.ts";
import { VIEW_READS, VIEWS } from "./view_queries.ts";
import { viewReadRow, ViewReads, viewRow } from "./views.ts";

/** The oldest major that is supported, as `server_version_num`. */
const OLDEST_VERSION = 130000;

/**
 * Reads what PostgreSQL says of the server, the role and the named relations, in one transaction and a handful
 * of statements, however many names there are. Names that do not exist are absent from the result; the tables below
 * plain views are in it, though nobody named them.
 *
 * @param sql a connection to the database of the tables; any role will do
 * @param names the relations of the schema file: nodes, link tables and base tables
 * @throws {PgsyncError} POSTGRES_VERSION where the server is too old to be asked; PRIVILEGE_MISSING where the
 *   role may not read the cluster's identity (everybody may, unless the right was revoked)
 */
export async function readCatalog(sql: Sql, names: readonly QualifiedName[]): Promise<Catalog> {
  return await sql.begin(TRANSACTION, (transaction) => readIn(transaction, names));
}

/** As `readCatalog`, on one connection that is reserved: its server was asked something before. */
export async function readCatalogOn(
  reserved: ReservedSql,
  names: readonly QualifiedName[],
): Promise<Catalog> {
  return await transactionOn(reserved, TRANSACTION, () => readIn(reserved, names));
}

const TRANSACTION = "isolation level repeatable read read only";

async function readIn(transaction: Session, names: readonly QualifiedName[]): Promise<Catalog> {
  await settle(transaction);
  const server = await readServerIn(transaction);
  const relations = await readWithViews(transaction, names);
  const complete = names.every((name) =>
    relations.some((relation) => relation.schema === name.schema && relation.table === name.table)
  );
  const candidates = complete ? relations : await read(transaction, queries.ALL_NAMES, nameRow);
  return makeCatalog(server, relations, candidates);
}

/**
 * An empty search_path makes the server qualify the types it prints; compilation would cost more than all the
 * statements together.
 */
async function settle(transaction: Session): Promise<void> {
  await transaction.unsafe("set local search_path = ''; set local jit = off");
}

async function readServerIn(transaction: Session): Promise<ServerFacts> {
  const [{ version_number: versionNumber, version } = { version_number: 0, version: "?" }] = z.array(
    z.object({ version_number: z.coerce.number(), version: z.string() }),
  ).parse(
    await transaction.unsafe(
      "select current_setting('server_version_num') as version_number, current_setting('server_version') as version",
    ),
  );
  // The statements below need columns and functions that older servers have not.
  if (versionNumber < OLDEST_VERSION) {
    throw new PgsyncError(
      "POSTGRES_VERSION",
      `The server is PostgreSQL ${version}; 13 is the oldest that is supported.`,
    );
  }
  const { denied, ...facts } = await readOne(transaction, queries.SERVER, serverRow);
  const needed = facts.inRecovery ? denied : denied.filter((name) => name.endsWith("pg_control_system()"));
  if (needed.length > 0) {
    throw new PgsyncError(
      "PRIVILEGE_MISSING",
      `Role "${facts.role}" may not call ${
        needed.join(", ")
      }, which tells one PostgreSQL cluster from another.`,
      {
        remedy: needed.map((name) =>
          `GRANT EXECUTE ON FUNCTION ${name} TO "${facts.role.replaceAll('"', '""')}";`
        )
          .join(" "),
      },
    );
  }
  const statement = facts.inRecovery ? queries.IDENTITY_OF_STANDBY : queries.IDENTITY_OF_PRIMARY;
  return { ...facts, ...await readOne(transaction, statement, identityRow) };
}

async function readWithViews(
  transaction: Session,
  names: readonly QualifiedName[],
): Promise<Relation[]> {
  const named = await readRelationsIn(transaction, names);
  const views = named.filter(({ kind }) => kind === "view" || kind === "materialized view");
  if (views.length === 0) return named;
  const oids = oidArray(views);
  const reads = new ViewReads(
    await read(transaction, VIEWS, viewRow, oids),
    await read(transaction, VIEW_READS, viewReadRow, oids),
  );
  const below = reads.tablesBelow(views.map((view) => view.oid));
  const relations = below.length === 0 ? named : await readRelationsIn(transaction, [...names, ...below]);
  return relations.map((relation) => {
    const view = reads.definition(relation, relations);
    return view === null ? relation : { ...relation, view };
  });
}

async function readRelationsIn(transaction: Session, names: readonly QualifiedName[]) {
  const asked = JSON.stringify(names.map(({ schema, table }) => ({ schema, table })));
  const relations = await read(transaction, queries.RELATIONS, relationRow, asked);
  const oids = oidArray(relations);
  const [heaps, columns, types, foreignKeys] = await Promise.all([
    read(transaction, queries.HEAPS, heapRow, oids),
    read(transaction, queries.COLUMNS, columnRow, oids),
    read(transaction, queries.TYPES, typeRow, oids),
    read(transaction, queries.FOREIGN_KEYS, foreignKeyRow, oids),
  ]);
  const indexes = await read(transaction, queries.INDEXES, indexRow, oids, oidArray(heaps));
  return buildRelations({ relations, heaps, columns, types, foreignKeys, indexes });
}

/** A PostgreSQL array literal; a text parameter needs no array type known to the client. */
function oidArray(rows: readonly { readonly oid: number }[]): string {
  return `{${rows.map((row) => row.oid).join(",")}}`;
}

/**
 * Runs a statement and parses its rows. They come as one JSON text, so neither the client's parsers for types
 * nor what was learnt of array types matters.
 */
async function read<Row>(
  transaction: Session,
  statement: string,
  row: z.ZodType<Row>,
  ...parameters: string[]
): Promise<Row[]> {
  const [answer] = z.array(z.object({ rows: z.string() })).parse(
    await transaction.unsafe(
      `select coalesce(json_agg(to_json(answer)), '[]')::text as rows from (${statement}) answer`,
      parameters,
    ),
  );
  return z.array(row).parse(JSON.parse(answer?.rows ?? "[]"));
}

async function readOne<Row>(
  transaction: Session,
  statement: string,
  row: z.ZodType<Row>,
): Promise<Row> {
  const [first] = await read(transaction, statement, row);
  if (first === undefined) throw new PgsyncError("INTERNAL", "A statement on the catalog gave no row.");
  return first;
}
