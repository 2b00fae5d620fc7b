import { readCatalog } from "../catalog/read.ts";
import { readTableStates, type TableState } from "../catalog/table_state.ts";
import type { ServerFacts } from "../catalog/types.ts";
import type { Identity } from "../checkpoint/types.ts";
import { errorContext, type Sql } from "../postgres/connect.ts";
import { postgresError } from "../postgres/errors.ts";
import { quoteQualified } from "../postgres/quote.ts";
import {
  describePublication,
  type GeneratedLeftOut,
  missingTables,
  type PublicationState,
  readGeneratedLeftOut,
} from "../replication/publication.ts";
import { inspectSlot, type SlotState } from "../replication/slot.ts";
import type { DocumentSchema, QualifiedName } from "../schema/tree.ts";
import { type DatabaseMapping, mapDatabase, namedTables, relationProblems } from "./database_mapping.ts";

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
 * @param onServer told whose server this is, before what its tables lack is thrown; what it throws goes first
 * @throws PgsyncError of PostgreSQL; TABLE_MISSING, PRIVILEGE_MISSING; others as `mapDocument`
 */
export async function readDatabase(
  admin: Sql,
  database: string,
  documents: readonly DocumentSchema[],
  slotName: string,
  onServer: (server: ServerFacts) => void = () => {},
): Promise<DatabaseState> {
  const names = namedTables(documents);
  try {
    for (let watched: readonly QualifiedName[] = names;;) {
      const tables = await readTableStates(admin, watched, slotName);
      const catalog = await readCatalog(admin, names);
      onServer(catalog.server);
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
  const { database, slotName } = state;
  return identityAt(state.mapping.catalog.server, database, slotName);
}

/** The same, where only the server was read. */
export function identityAt(server: ServerFacts, database: string, slotName: string): Identity {
  const { systemIdentifier, timeline } = server;
  return { systemIdentifier, timeline, database, slot: slotName };
}

/** The tables that matter and whose changes the publication does not carry wholly. */
export function unpublishedTables(state: DatabaseState): QualifiedName[] {
  return missingTables(state.publication, state.mapping.tables);
}
