import { getLogger } from "@logtape/logtape";
import type { Relation } from "../catalog/types.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { PgsyncError } from "../errors/error.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { Session, Sql } from "../postgres/connect.ts";
import { quoteQualified } from "../postgres/quote.ts";
import { describePublication, missingTables, type PublicationState } from "../replication/publication.ts";
import type { QualifiedName } from "../schema/tree.ts";
import type { SearchClient } from "../search/client.ts";
import type { DatabaseState } from "./database_setup.ts";
import { markUnloaded } from "../documents/index_setup.ts";

const logger = getLogger(["pgsync", "sync"]);

/**
 * What the stream does not tell of its tables: that a table was taken out of the publication, or was dropped and made again
 * (its new rows go to nobody); and of partitioned tables, that a partition was truncated by itself, attached, detached
 * or dropped. So the catalog is looked at now and then.
 */

/** A table as a look finds it. */
export interface SourceTable extends QualifiedName {
  /** Null where no table has the name. */
  readonly oid: number | null;
  /** The file number of each leaf partition by its oid; empty for tables that are not partitioned. */
  readonly leaves: ReadonlyMap<number, number>;
}

/** Why the stream no longer tells of the tables what it should, and of which. */
export interface SourceFault {
  readonly error: PgsyncError;
  readonly tables: readonly QualifiedName[];
}

/** A table as the catalog described it when the run began. */
export function sourceTable(relation: Relation): SourceTable {
  const heaps = relation.kind === "partitioned" ? relation.heaps : [];
  return {
    schema: relation.schema,
    table: relation.table,
    oid: relation.oid,
    leaves: new Map(heaps.map((heap) => [heap.oid, heap.filenode])),
  };
}

/**
 * Whether the stream still carries all changes of the tables. Pure.
 *
 * @param name of the publication
 * @returns SOURCE_CHANGED or PUBLICATION_MISSING; null when all is well
 */
export function sourceFault(
  before: readonly SourceTable[],
  now: readonly SourceTable[],
  publication: PublicationState | null,
  name: string,
): SourceFault | null {
  const found = new Map(now.map((table) => [quoteQualified(table), table]));
  const others = before.filter((table) => found.get(quoteQualified(table))?.oid !== table.oid);
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

/** What became of a table's partitions between two looks. */
export interface LeafChanges {
  /** Leaves that were not there before: made, or attached with rows that the stream never told of. */
  readonly added: readonly number[];
  /** Some are gone, or have another file: detached, dropped, truncated, or only rewritten (VACUUM FULL, CLUSTER). */
  readonly rowsLeft: boolean;
}

/** Compares the partitions of a table. Pure. */
export function leafChanges(before: SourceTable, now: SourceTable): LeafChanges {
  return {
    added: [...now.leaves.keys()].filter((leaf) => !before.leaves.has(leaf)),
    rowsLeft: [...before.leaves].some(([leaf, filenode]) => now.leaves.get(leaf) !== filenode),
  };
}

/**
 * Reads the tables as they are now, in the order asked for. It takes no lock, so it waits for nobody.
 *
 * @throws postgres.js' errors
 */
export async function readSourceTables(
  sql: Session,
  names: readonly QualifiedName[],
): Promise<SourceTable[]> {
  const asked = JSON.stringify(names.map(({ schema, table }) => ({ schema, table })));
  const rows = await sql<SourceRow[]>`
    WITH RECURSIVE root AS (
      SELECT asked.schema, asked."table", relation.oid
      FROM jsonb_to_recordset(${asked}::text::jsonb) AS asked(schema text, "table" text)
      LEFT JOIN pg_catalog.pg_namespace AS namespace ON namespace.nspname = asked.schema
      LEFT JOIN pg_catalog.pg_class AS relation
        ON relation.relnamespace = namespace.oid AND relation.relname = asked."table"
    ), tree(root, oid) AS (
      SELECT root.oid, root.oid FROM root
      UNION ALL
      SELECT tree.root, inherits.inhrelid
      FROM tree
      JOIN pg_catalog.pg_class AS parent ON parent.oid = tree.oid AND parent.relkind = 'p'
      JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhparent = parent.oid
      -- While it is being detached concurrently (PostgreSQL 14) it is no longer read through its parent.
      WHERE NOT coalesce((to_jsonb(inherits) ->> 'inhdetachpending')::boolean, false)
    )
    SELECT root.schema, root."table", root.oid::text AS oid, leaf.oid::text AS leaf,
      coalesce(pg_catalog.pg_relation_filenode(leaf.oid), 0)::text AS filenode
    FROM root
    LEFT JOIN tree ON tree.root = root.oid AND tree.oid <> root.oid
    LEFT JOIN pg_catalog.pg_class AS leaf ON leaf.oid = tree.oid AND leaf.relkind <> 'p'`;
  const byName = Map.groupBy(rows, quoteQualified);
  return names.map(({ schema, table }) => {
    const found = byName.get(quoteQualified({ schema, table })) ?? [];
    const oid = found[0]?.oid ?? null;
    const leaves = found.flatMap((row): [number, number][] =>
      row.leaf === null ? [] : [[Number(row.leaf), Number(row.filenode)]]
    );
    return { schema, table, oid: oid === null ? null : Number(oid), leaves: new Map(leaves) };
  });
}

interface SourceRow extends QualifiedName {
  readonly oid: string | null;
  readonly leaf: string | null;
  readonly filenode: string;
}

/** What the watch works with. */
export interface SourceWatchOptions {
  readonly admin: Sql;
  readonly state: DatabaseState;
  readonly search: SearchClient;
  readonly checkpoint: Checkpoint;
  /** Every index is loaded. Until then a document of a chunk that was read before may still be on its way. */
  readonly isLoaded: () => boolean;
  /** Every root of these documents must be read again. */
  readonly onReconcile: (documents: readonly MappedDocument[]) => void;
  /** Going on would lose changes. The documents concerned are marked as not loaded already. */
  readonly onFault: (error: PgsyncError) => void;
}

/** Looks at the tables of a run and tells what became of them. */
export class SourceWatch {
  #known: readonly SourceTable[];

  constructor(private readonly options: SourceWatchOptions) {
    this.#known = options.state.mapping.tables.map(sourceTable);
  }

  /**
   * Looks once.
   *
   * @throws postgres.js' errors
   */
  async look(): Promise<void> {
    const { admin, state, isLoaded, onReconcile, onFault } = this.options;
    const version = state.mapping.catalog.server.versionNumber;
    const publication = await describePublication(admin, state.slotName, version);
    const now = await readSourceTables(admin, this.#known);
    const fault = sourceFault(this.#known, now, publication, state.slotName);
    if (fault !== null) {
      await this.#markUnloaded(this.#documentsOf(fault.tables));
      onFault(fault.error);
      return;
    }
    // What has changed during the load is still to be seen at the first look after it.
    if (!isLoaded()) return;
    const changed = await this.#changed(now);
    this.#known = now;
    if (changed.length === 0) return;
    logger.info("partitions of {tables} were changed; the documents that use them are compared", {
      tables: changed.map(quoteQualified).join(", "),
    });
    onReconcile(this.#documentsOf(changed));
  }

  /** The tables whose partitions have gained or lost rows that the stream did not tell of. */
  async #changed(now: readonly SourceTable[]): Promise<QualifiedName[]> {
    const changed: QualifiedName[] = [];
    for (const [at, before] of this.#known.entries()) {
      const table = now[at];
      if (table === undefined) continue;
      const { added, rowsLeft } = leafChanges(before, table);
      if (rowsLeft || await this.#holdsRows(added)) changed.push(table);
    }
    return changed;
  }

  /** A partition made for the days to come is empty, and must not cost a comparison of all documents. */
  async #holdsRows(leaves: readonly number[]): Promise<boolean> {
    if (leaves.length === 0) return false;
    const rows = await this.options.admin`
      SELECT FROM pg_catalog.pg_class
      WHERE oid = ANY (${`{${leaves.join(",")}}`}::text::oid[])
        AND (relkind <> 'r' OR pg_catalog.pg_relation_size(oid) > 0)
      LIMIT 1`;
    return rows.length > 0;
  }

  #documentsOf(tables: readonly QualifiedName[]): MappedDocument[] {
    const names = new Set(tables.map(quoteQualified));
    const { sources } = this.options.state.mapping;
    const using = sources.filter((source) => names.has(quoteQualified(source.relation)));
    return [...new Set(using.map((source) => source.document))];
  }

  /** Whoever mends the table by hand and starts again must not be left with what was missed. */
  async #markUnloaded(documents: readonly MappedDocument[]): Promise<void> {
    for (const { schema: { index } } of documents) {
      try {
        await markUnloaded(this.options.search, this.options.checkpoint, index);
      } catch (error) {
        logger.warn("the index {index} could not be marked as not loaded: {error}", { index, error });
      }
    }
  }
}
