import { errorContext, type Sql } from "../../postgres/connect.ts";
import { postgresError, sqlStateOf } from "../../postgres/errors.ts";
import { changePublication, lockSql } from "../../replication/publication_change.ts";
import { ensurePublication, publicationOptionsSql, publicationSql } from "../../replication/publication.ts";
import { createSlotSql } from "../../replication/slot.ts";
import { type DatabaseState, unpublishedTables } from "../database_state.ts";

const DEADLOCK = "40P01";

/** The statements that bootstrap would run, in order; empty when nothing is missing. */
export function bootstrapStatements(state: DatabaseState): string[] {
  const { slotName: name, slot } = state;
  return [
    ...identityStatements(state),
    ...publicationStatements(state),
    ...(slot === null ? [createSlotSql(name, state.mapping.catalog.server.versionNumber)] : []),
  ];
}

/**
 * The statements that mend the publication, in order; empty when nothing is missing. Where a slot is read already, with the
 * lock that they need (`changePublication`).
 */
export function publicationStatements(state: DatabaseState): string[] {
  const { slotName: name, publication, slot } = state;
  const version = state.mapping.catalog.server.versionNumber;
  const options = publication === null ? [] : publicationOptionsSql(publication, version);
  const statements = publicationSql(publication, { name, tables: state.mapping.tables, version })
    .filter((statement) => !options.includes(statement));
  const lacking = unpublishedTables(state);
  if (slot === null || lacking.length === 0) return statements;
  return ["BEGIN;", lockSql(lacking), ...statements, "COMMIT;"];
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
    tables: state.mapping.tables,
    version: state.mapping.catalog.server.versionNumber,
  };
  // A slot that is made afterwards waits by itself for all who are writing.
  const published = await (state.slot === null ? ensurePublication : changePublication)(admin, request);
  return [...statements, ...published];
}
