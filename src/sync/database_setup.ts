import { checkServer } from "../catalog/checks.ts";
import { readCatalog } from "../catalog/read.ts";
import { readTableStates, type TableState } from "../catalog/table_state.ts";
import type { MaterializedView, Relation } from "../catalog/types.ts";
import type { Identity } from "../checkpoint/types.ts";
import { PgsyncError } from "../errors/error.ts";
import type { IdentityNeed } from "../mapping/replica_identity.ts";
import { errorContext, type Sql } from "../postgres/connect.ts";
import { postgresError, sqlStateOf } from "../postgres/errors.ts";
import { quoteIdentifier, quoteQualified } from "../postgres/quote.ts";
import { changePublication, lockSql } from "../replication/publication_change.ts";
import {
  describePublication,
  ensurePublication,
  type GeneratedLeftOut,
  missingTables,
  publicationOptionsSql,
  publicationSql,
  type PublicationState,
  readGeneratedLeftOut,
} from "../replication/publication.ts";
import { assertUsableSlot, createSlotSql, inspectSlot, type SlotState } from "../replication/slot.ts";
import type { DocumentSchema, QualifiedName } from "../schema/tree.ts";
import { materializedViews, refreshSql } from "./materialized_views.ts";
import { type DatabaseMapping, mapDatabase, namedTables, relationProblems } from "./database_mapping.ts";

const DEADLOCK = "40P01";

/** What stands in a database of what a run needs. */
export interface DatabaseState {
  readonly database: string;
  /** Name of slot and publication. */
  readonly slotName: string;
  readonly mapping: DatabaseMapping;
  /** All that documents are made of, as they were just before the catalog was read: what changed since shows at the next look. */
  readonly tables: readonly TableState[];
  readonly slot: SlotState | null;
  readonly publication: PublicationState | null;
  /** Other publications that leave out generated columns. */
  readonly generatedLeftOut: readonly GeneratedLeftOut[];
}

/**
 * Reads catalog, slot and publication, and joins the documents to them.
 *
 * @param admin an admin pool of the database
 * @throws PgsyncError of PostgreSQL; TABLE_MISSING, PRIVILEGE_MISSING; others as `mapDocument`
 */
export async function readDatabase(
  admin: Sql,
  database: string,
  documents: readonly DocumentSchema[],
  slotName: string,
): Promise<DatabaseState> {
  const names = namedTables(documents);
  try {
    for (let watched: readonly QualifiedName[] = names;;) {
      const tables = await readTableStates(admin, watched, slotName);
      const catalog = await readCatalog(admin, names);
      const [problem] = relationProblems(documents, catalog);
      if (problem !== undefined) throw problem;
      const mapping = mapDatabase(documents, catalog);
      // Below a view lie tables and views that no file names. They, too, have to be read before the catalog.
      const known = new Set(watched.map(quoteQualified));
      const viewed = mapping.documents.flatMap(({ nodes }) =>
        nodes.flatMap((node) => node.relation.view?.below ?? [])
      );
      const below = [...mapping.tables, ...viewed].filter((table) => !known.has(quoteQualified(table)));
      watched = [...watched, ...below];
      if (below.length > 0) continue;
      const { versionNumber } = catalog.server;
      const publication = await describePublication(admin, slotName, versionNumber);
      const generatedLeftOut = await readGeneratedLeftOut(admin, slotName, versionNumber);
      const slot = await inspectSlot(admin, slotName);
      return { database, slotName, mapping, tables, slot, publication, generatedLeftOut };
    }
  } catch (thrown) {
    throw postgresError(thrown, errorContext(admin, "read its catalog"));
  }
}

/** To whom the checkpoint file of this database belongs. */
export function identityOf(state: DatabaseState): Identity {
  const { systemIdentifier, timeline } = state.mapping.catalog.server;
  return { systemIdentifier, timeline, database: state.database, slot: state.slotName };
}

/** The tables that matter and whose changes the publication does not carry wholly. */
export function unpublishedTables(state: DatabaseState): QualifiedName[] {
  return missingTables(state.publication, publishedTables(state));
}

/**
 * The statements that mend the publication, in order; empty when nothing is missing. Where a slot is read already, with the
 * lock that they need (`changePublication`).
 */
function publicationStatements(state: DatabaseState): string[] {
  const { slotName: name, publication, slot } = state;
  const version = versionOf(state);
  const options = publication === null ? [] : publicationOptionsSql(publication, version);
  const statements = publicationSql(publication, { name, tables: publishedTables(state), version })
    .filter((statement) => !options.includes(statement));
  const lacking = unpublishedTables(state);
  if (slot === null || lacking.length === 0) return statements;
  return ["BEGIN;", lockSql(lacking), ...statements, "COMMIT;"];
}

function versionOf(state: DatabaseState): number {
  return state.mapping.catalog.server.versionNumber;
}

/** The tables that a publication has to hold. */
function publishedTables(state: DatabaseState): readonly Relation[] {
  return state.mapping.tables;
}

/** The statements that bootstrap would run, in order; empty when nothing is missing. */
export function bootstrapStatements(state: DatabaseState): string[] {
  const { slotName: name, slot } = state;
  return [
    ...identityStatements(state),
    ...publicationStatements(state),
    ...(slot === null ? [createSlotSql(name)] : []),
  ];
}

/**
 * What keeps a run from starting, when bootstrap may make what is missing (and the role has the right to), or may not.
 *
 * @param goesOn the run was going on: a partition that was made meanwhile may lack its identity (the stream's reader
 * reckons with that), and must not end it
 * @returns errors with remedies; empty when all is well
 */
export function setupProblems(
  state: DatabaseState,
  withBootstrap: boolean,
  goesOn = false,
): PgsyncError[] {
  const { mapping, slotName: name, publication, slot } = state;
  const { server } = mapping.catalog;
  const lacking = unpublishedTables(state);
  const problems = checkServer(server, {
    slot: withBootstrap && slot === null,
    publication: withBootstrap && publication === null,
    // A walsender that is about to end may still be counted; the stream itself waits for a free one.
    walSenders: slot?.active === true ? 0 : 1,
  });
  const identities = mapping.identities.filter((need) => goesOn ? need.lacksItself : need.sql.length > 0);
  problems.push(
    ...identities
      .filter((need) => !withBootstrap || !need.relation.isOwner)
      .map((need) => identityProblem(need, server.role)),
  );
  problems.push(...generatedProblems(state, withBootstrap));
  for (const view of materializedViews(mapping.documents)) {
    if (!view.populated && !view.mayRefresh) problems.push(emptyViewProblem(view, server.role));
  }
  if (lacking.length > 0) {
    const notOwned = publishedTables(state).filter((table) => !table.isOwner);
    if (!withBootstrap) {
      problems.push(publicationProblem(name, publication === null, lacking.map(quoteQualified)));
    } else if (notOwned.length > 0) problems.push(ownerProblem(state, notOwned));
  }
  if (slot !== null || !withBootstrap) {
    try {
      assertUsableSlot(slot, name, state.database);
    } catch (thrown) {
      if (!(thrown instanceof PgsyncError)) throw thrown;
      problems.push(thrown);
    }
  }
  return problems;
}

/**
 * Sets replica identities and makes the publication, where they are missing. The slot is not made here: what was loaded
 * for an older slot must be forgotten first.
 *
 * @returns the statements that were run
 * @throws PgsyncError
 */
export async function makeIdentitiesAndPublication(admin: Sql, state: DatabaseState): Promise<string[]> {
  const statements = identityStatements(state);
  for (;;) {
    try {
      await admin.begin(async (transaction) => {
        for (const statement of statements) await transaction.unsafe(statement);
      });
      break;
    } catch (thrown) {
      // A transaction of the application's waited for one of the tables while it held another. It has gone on meanwhile.
      if (sqlStateOf(thrown) === DEADLOCK) continue;
      throw postgresError(thrown, errorContext(admin, "set a replica identity"));
    }
  }
  const request = {
    name: state.slotName,
    tables: publishedTables(state),
    version: versionOf(state),
  };
  // A slot that is made afterwards waits by itself for all who are writing.
  const published = await (state.slot === null ? ensurePublication : changePublication)(admin, request);
  return [...statements, ...published];
}

/**
 * The statements that set replica identities. A table that gets FULL must not be published without its generated columns for a
 * moment, so the publication's options come first.
 */
function identityStatements({ publication, mapping }: DatabaseState): string[] {
  const { versionNumber } = mapping.catalog.server;
  return [
    ...(publication === null ? [] : publicationOptionsSql(publication, versionNumber)),
    ...mapping.identities.flatMap((need) => need.sql.map((statement) => `${statement};`)),
  ];
}

/**
 * Tables whose rows PostgreSQL (18 and later) would refuse to update and delete, or refuses already: their replica identity
 * is FULL, or is about to be, and a publication leaves out their generated columns.
 */
function generatedProblems(state: DatabaseState, withBootstrap: boolean): PgsyncError[] {
  const { mapping, publication, slotName, generatedLeftOut } = state;
  const whole = mapping.tables.filter((relation) => {
    const need = mapping.identities.find((each) => each.relation === relation);
    const statements = need?.sql ?? [];
    return relation.columns.some((column) => column.generated && column.virtual !== true) &&
      (statements.some((statement) => statement.endsWith(" FULL")) ||
        isWhole(relation) && statements.length === 0);
  });
  const others = generatedLeftOut.filter((member) =>
    whole.some((relation) =>
      [relation, ...relation.heaps].some((table) => quoteQualified(table) === quoteQualified(member))
    )
  );
  const own = publication?.generatedColumns === false && !withBootstrap && whole.length > 0
    ? whole.slice(0, 1).map(({ schema, table }) => ({ publication: slotName, schema, table }))
    : [];
  return [...own, ...others].map((member) =>
    new PgsyncError(
      "REPLICA_IDENTITY",
      `The publication "${member.publication}" leaves out the generated columns of ${
        quoteQualified(member)
      }: with the ` +
        "replica identity FULL that its link columns need, PostgreSQL would refuse to update and delete its rows.",
      {
        remedy:
          `Run: ALTER PUBLICATION ${
            quoteIdentifier(member.publication)
          } SET (publish_generated_columns = stored); ` +
          "or give the table a unique index over NOT NULL columns that holds its link columns.",
      },
    )
  );
}

function isWhole(relation: Relation): boolean {
  return [relation, ...relation.heaps].some((table) => table.replicaIdentity.kind === "full");
}

function identityProblem(need: IdentityNeed, role: string): PgsyncError {
  const table = quoteQualified(need.relation);
  const owner = need.relation.isOwner
    ? ""
    : ` Role "${role}" does not own it; its owner is "${need.relation.owner}".`;
  return new PgsyncError(
    "REPLICA_IDENTITY",
    `The replica identity of ${table} does not carry ${
      need.columns.map((column) => `"${column}"`).join(", ")
    }: ` +
      `${need.reason}.${owner}`,
    {
      remedy: need.relation.isOwner
        ? `Start with --bootstrap, or run: ${need.sql.join("; ")};`
        : `Have "${need.relation.owner}" run: ${need.sql.join("; ")};`,
    },
  );
}

function emptyViewProblem(view: MaterializedView, role: string): PgsyncError {
  return new PgsyncError(
    "PRIVILEGE_MISSING",
    `The materialised view ${quoteQualified(view)} holds nothing yet, and role "${role}" may not refresh it.`,
    { remedy: `Have "${view.owner}" run: ${refreshSql(view)}` },
  );
}

function publicationProblem(name: string, absent: boolean, lacking: readonly string[]): PgsyncError {
  return new PgsyncError(
    "PUBLICATION_MISSING",
    absent
      ? `The publication "${name}" does not exist.`
      : `The publication "${name}" does not carry all changes of ${lacking.join(", ")}.`,
  );
}

function ownerProblem(state: DatabaseState, notOwned: readonly Relation[]): PgsyncError {
  const { slotName: name, publication, mapping } = state;
  const sql = publicationStatements(state).join(" ");
  return new PgsyncError(
    "PRIVILEGE_MISSING",
    `Role "${mapping.catalog.server.role}" does not own ${notOwned.map(quoteQualified).join(", ")}, ` +
      `and only the owner may publish a table.`,
    {
      remedy: `Have a superuser run: ${sql}` +
        (publication === null
          ? ` ALTER PUBLICATION ${quoteIdentifier(name)} OWNER TO ${
            quoteIdentifier(mapping.catalog.server.role)
          };`
          : ""),
    },
  );
}
