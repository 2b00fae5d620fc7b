import { getLogger } from "@logtape/logtape";
import { readTableStates, type TableState } from "../catalog/table_state.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { PgsyncError } from "../errors/error.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { Sql } from "../postgres/connect.ts";
import { quoteQualified } from "../postgres/quote.ts";
import { describePublication, missingTables, type PublicationState } from "../replication/publication.ts";
import type { QualifiedName } from "../schema/tree.ts";
import type { SearchClient } from "../search/client.ts";
import { markUnloaded } from "../documents/index_setup.ts";
import { type DatabaseState, readDatabase } from "./database_setup.ts";
import { definitions, documentSource, type SourceChange, sourceChange } from "./document_source.ts";
import type { SourceKeeper } from "./source_keeper.ts";

const logger = getLogger(["pgsync", "sync"]);

/**
 * What the stream does not tell of its tables: that a table was taken out of the publication, or was dropped and made again
 * (its new rows go to nobody); that it has other columns, types or keys; and of partitioned tables, that a partition was
 * truncated by itself, attached, detached or dropped. So the catalog is looked at now and then.
 */

/** Why the stream no longer tells of the tables what it should, and of which. */
export interface SourceFault {
  readonly error: PgsyncError;
  readonly tables: readonly QualifiedName[];
}

/** A table with what tells one from another of its name. */
export type TableOid = QualifiedName & { readonly oid: number | null };

/**
 * Whether the stream still carries all changes of the tables. Pure.
 *
 * @param name of the publication
 * @returns SOURCE_CHANGED or PUBLICATION_MISSING; null when all is well
 */
export function sourceFault(
  before: readonly TableOid[],
  now: readonly TableOid[],
  publication: PublicationState | null,
  name: string,
): SourceFault | null {
  const found = new Map(now.map((table) => [quoteQualified(table), table.oid]));
  const others = before.filter((table) => {
    const oid = found.get(quoteQualified(table)) ?? null;
    // Where all tables are published, the other one is, too, from its first row on; it only has to be mapped.
    return oid !== table.oid && (oid === null || publication?.allTables !== true);
  });
  if (others.length > 0) {
    return {
      tables: others,
      error: new PgsyncError(
        "SOURCE_CHANGED",
        `While it was followed, ${
          others.map(quoteQualified).join(", ")
        } was dropped or renamed, or another table got its name.`,
        {
          remedy: "Mend the schema file if the table has another name now; then start with --bootstrap, " +
            "which loads its documents anew.",
        },
      ),
    };
  }
  const lacking = missingTables(publication, before);
  if (lacking.length === 0) return null;
  return {
    tables: lacking,
    error: new PgsyncError(
      "PUBLICATION_MISSING",
      publication === null
        ? `The publication "${name}" does not exist any more.`
        : `The publication "${name}" no longer carries all changes of ${
          lacking.map(quoteQualified).join(", ")
        }.`,
      { remedy: "Start with --bootstrap, which mends the publication and loads the documents anew." },
    ),
  };
}

/** What a look comes to. */
export type LookResult =
  /** The run can go on. */
  | { readonly kind: "fine" }
  /** Documents are built in another way now. */
  | { readonly kind: "remap"; readonly reason: string }
  /** The run cannot go on. */
  | { readonly kind: "fault"; readonly error: PgsyncError };

/** What the watch works with. */
export interface SourceWatchOptions {
  readonly admin: Sql;
  readonly state: DatabaseState;
  readonly search: SearchClient;
  readonly checkpoint: Checkpoint;
  readonly keeper: SourceKeeper;
  /** The index is loaded. Until then a document of a chunk that was read before may still be on its way. */
  readonly isLoaded: (document: MappedDocument) => boolean;
  /** Every root of the document must be read again. */
  readonly onReconcile: (document: MappedDocument, whenDone: () => void) => void;
}

/** Looks at the tables of a run and tells what became of them. */
export class SourceWatch {
  #states: readonly TableState[];

  constructor(private readonly options: SourceWatchOptions) {
    this.#states = options.state.tables;
  }

  /**
   * Looks once.
   *
   * @throws postgres.js' errors
   */
  async look(): Promise<LookResult> {
    const { admin, state } = this.options;
    const version = state.mapping.catalog.server.versionNumber;
    const publication = await describePublication(admin, state.slotName, version);
    const now = await readTableStates(admin, this.#states, state.slotName);
    const fault = sourceFault(state.mapping.tables, now, publication, state.slotName);
    if (fault !== null) {
      await this.#markUnloaded(fault.tables);
      return { kind: "fault", error: fault.error };
    }
    const described = definitions(now);
    if (described !== definitions(this.#states)) {
      const result = await this.#judge(now);
      if (result.kind !== "fine") return result;
    }
    this.#states = now;
    for (const mapped of state.mapping.documents) {
      // What has changed during the load is still to be seen at the first look after it.
      if (this.options.isLoaded(mapped)) await this.#compareRows(mapped, now);
    }
    return { kind: "fine" };
  }

  /** Definitions have changed: do they change a document? */
  async #judge(states: readonly TableState[]): Promise<LookResult> {
    const { admin, state, keeper } = this.options;
    const documents = state.mapping.documents.map((document) => document.schema);
    let fresh: DatabaseState;
    try {
      fresh = await readDatabase(admin, state.database, documents, state.slotName);
    } catch (thrown) {
      if (!(thrown instanceof PgsyncError) || thrown.next === "retry") throw thrown;
      return { kind: "fault", error: whileFollowed(thrown) };
    }
    const changed = fresh.mapping.documents.filter((mapped) => {
      const known = keeper.known(mapped.schema.index);
      return known === null || known.shape !== documentSource(mapped, states).shape;
    });
    if (changed.length > 0) {
      return { kind: "remap", reason: remapReason(changed.map((mapped) => mapped.schema.index)) };
    }
    const lacking = fresh.mapping.identities.filter((need) => need.lacksItself);
    if (lacking.length > 0) {
      const names = lacking.map((need) => quoteQualified(need.relation)).join(", ");
      return { kind: "remap", reason: `The replica identity of ${names} has changed.` };
    }
    return { kind: "fine" };
  }

  async #compareRows(mapped: MappedDocument, states: readonly TableState[]): Promise<void> {
    const { keeper, onReconcile, admin } = this.options;
    const { index } = mapped.schema;
    const now = documentSource(mapped, states);
    const known = keeper.known(index);
    const change = known === null ? SHAPE : await certainChange(admin, sourceChange(mapped, known, now));
    if (change.kind === "none") {
      keeper.found(index, now);
      return;
    }
    if (change.kind === "rows") {
      logger.info(
        "rows of {tables} came, went or changed without a word of the stream (a partition, a rewrite, a refresh, a time out of the publication); the documents of {index} are compared",
        { tables: change.tables.map(quoteQualified).join(", "), index },
      );
    }
    onReconcile(mapped, keeper.demands(index, now));
  }

  /** Whoever mends the table by hand and starts again must not be left with what was missed. */
  async #markUnloaded(tables: readonly QualifiedName[]): Promise<void> {
    const names = new Set(tables.map(quoteQualified));
    const { sources } = this.options.state.mapping;
    const using = sources.filter((source) => names.has(quoteQualified(source.relation)));
    for (const { schema: { index } } of new Set(using.map((source) => source.document))) {
      try {
        await markUnloaded(this.options.search, this.options.checkpoint, index);
      } catch (error) {
        logger.warn("the index {index} could not be marked as not loaded: {error}", { index, error });
      }
    }
  }
}

const SHAPE: SourceChange = { kind: "shape" };

/**
 * A partition made for the days to come is empty, and must not cost a comparison of all documents: new leaves count only
 * where one holds rows.
 *
 * @throws postgres.js' errors
 */
export async function certainChange(admin: Sql, change: SourceChange): Promise<SourceChange> {
  if (change.kind !== "leaves") return change;
  const rows = await admin`
    SELECT FROM pg_catalog.pg_class
    WHERE oid = ANY (${`{${change.leaves.join(",")}}`}::text::oid[])
      AND (relkind <> 'r' OR pg_catalog.pg_relation_size(oid) > 0)
    LIMIT 1`;
  return rows.length === 0 ? { kind: "none" } : { kind: "rows", tables: change.tables };
}

/** Says in one sentence that documents are mapped anew. */
export function remapReason(indices: readonly string[]): string {
  const names = indices.map((index) => `"${index}"`).join(", ");
  return `Tables have changed: the documents of ${names} are mapped and compared anew.`;
}

/** An error that the mapping met because a table was changed under a run. */
function whileFollowed(error: PgsyncError): PgsyncError {
  return new PgsyncError(error.code, `While it was followed, a table was changed: ${error.message}`, {
    remedy: `${error.remedy} Mend the schema file (or the table), then start again: ` +
      "the position is kept, and nothing is lost.",
    cause: error,
  });
}
