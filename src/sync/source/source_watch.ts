import { getLogger } from "@logtape/logtape";
import { readTableStates, type TableState } from "../../catalog/table_state.ts";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import type { ErrorCode } from "../../errors/codes.ts";
import { PgsyncError } from "../../errors/error.ts";
import type { MappedDocument } from "../../mapping/tree.ts";
import type { Sql } from "../../postgres/connect.ts";
import { quoteQualified } from "../../postgres/quote.ts";
import { describePublication } from "../../replication/publication.ts";
import type { QualifiedName } from "../../schema/tree.ts";
import type { SearchClient } from "../../search/client.ts";
import { markUnloaded } from "../../documents/index_setup.ts";
import { type DatabaseState, readDatabase } from "../database_state.ts";
import {
  definitions,
  type DocumentSource,
  documentSource,
  type SourceChange,
  sourceChange,
} from "./document_source.ts";
import { LateCommits } from "./late_commits.ts";
import type { Remap } from "../run_signals.ts";
import { sourceFault } from "./source_fault.ts";
import type { SourceKeeper } from "./source_keeper.ts";

const logger = getLogger(["pgsync", "sync"]);

/** Errors that a changed table may explain. */
const EXPLICABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "POSTGRES_QUERY",
  "TABLE_MISSING",
  "COLUMN_MISSING",
  "SOURCE_CHANGED",
  "OLD_VALUE_MISSING",
]);

/**
 * What the stream does not tell of its tables: that a table was taken out of the publication, or was dropped and made again
 * (its new rows go to nobody); that it has other columns, types or keys; and of partitioned tables, that a partition was
 * truncated by itself, attached, detached or dropped. So the catalog is looked at now and then.
 */

/** What a look comes to. */
export type LookResult =
  /** The run can go on. */
  | { readonly kind: "fine" }
  /** Documents are built in another way now. */
  | ({ readonly kind: "remap" } & Remap)
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
  /** Has the walsender forget what it remembers of tables, once all that was written until now is acknowledged and stored. */
  readonly renewStream: () => Promise<void>;
}

/** Looks at the tables of a run and tells what became of them. */
export class SourceWatch {
  #states: readonly TableState[];
  /** Tables of whose changes the stream did not tell. */
  #unheard: readonly QualifiedName[] = [];
  /** The walsender may take a partition for a table that is not published. */
  #staleStream = false;
  readonly #lateCommits: LateCommits;

  constructor(private readonly options: SourceWatchOptions) {
    this.#states = options.state.tables;
    this.#lateCommits = new LateCommits(options.admin);
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
      this.#unheard = fault.tables;
      return { kind: "fault", error: fault.error };
    }
    const described = definitions(now);
    if (described !== definitions(this.#states)) {
      const result = await this.#judge(now);
      if (result.kind !== "fine") return result;
    }
    this.#staleStream ||= this.#misleadStream(this.#states, now);
    this.#states = now;
    if (this.#staleStream) {
      await this.options.renewStream();
      this.#staleStream = false;
    }
    for (const mapped of state.mapping.documents) {
      // What has changed during the load is still to be seen at the first look after it.
      if (!this.options.isLoaded(mapped)) continue;
      await this.#compareRows(mapped, now);
      const settle = await this.#lateCommits.over(mapped);
      if (settle !== null) this.options.onReconcile(mapped, settle);
    }
    return { kind: "fine" };
  }

  /**
   * What was done to the tables while nobody looked. To be called before anything of the stream is carried out: it goes before
   * all that the stream will tell.
   *
   * @param changed documents that were made of something else when the position was stored
   * @throws postgres.js' errors, before anything is done
   */
  async compareChanged(changed: ReadonlySet<MappedDocument>): Promise<void> {
    const { state, keeper, isLoaded, onReconcile } = this.options;
    const sources = state.mapping.documents.map((mapped) => {
      const { index } = mapped.schema;
      const before = keeper.known(index) ?? keeper.stored(index);
      return { mapped, source: documentSource(mapped, state.tables), before };
    });
    for (const { mapped, source, before } of sources) await this.#lateCommits.await(mapped, before, source);
    for (const { mapped, source, before } of sources) {
      const { index } = mapped.schema;
      // What the stream leaves out until it is renewed is compared at the first look.
      const stale = before !== null && this.#misleadStream(before.tables, source.tables);
      this.#staleStream ||= stale;
      if (changed.has(mapped) && isLoaded(mapped)) {
        logger.info("tables of index {index} have changed; its documents are compared", { index });
        onReconcile(mapped, stale ? () => {} : this.#demands(mapped, source));
      } else if (!stale && !this.#lateCommits.isAwaited(mapped)) keeper.found(index, source);
      else if (!stale) this.#demands(mapped, source);
    }
  }

  /** What a look says of an error: why to map anew, or a better error; null where it says nothing. */
  async explain(error: PgsyncError): Promise<Remap | PgsyncError | null> {
    if (!EXPLICABLE.has(error.code)) return null;
    try {
      const result = await this.look();
      if (result.kind === "fine") return null;
      return result.kind === "fault" ? result.error : result;
    } catch (thrown) {
      logger.debug("the tables could not be looked at: {error}", { error: thrown });
      return null;
    }
  }

  /** Whether partitions came that the walsender may take for tables that are not published. */
  #misleadStream(before: readonly TableState[], now: readonly TableState[]): boolean {
    const { versionNumber } = this.options.state.mapping.catalog.server;
    return versionNumber < REMEMBERS_RIGHTLY && partitionsCame(before, now);
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
    await this.#lateCommits.await(mapped, known, now);
    onReconcile(mapped, this.#demands(mapped, now));
  }

  /** As `SourceKeeper.demands`; where commits are waited for, the comparison after them settles it. */
  #demands(mapped: MappedDocument, source: DocumentSource): () => void {
    const settle = this.options.keeper.demands(mapped.schema.index, source);
    return this.#lateCommits.settles(mapped, settle) ? () => {} : settle;
  }

  /**
   * After a fault: makes the indices of its tables count as not loaded, for whoever mends the tables by hand and starts again
   * must not be left with what was missed. To be called when no load is under way any more: it would lose its plan, or say
   * of its index after this that it is loaded.
   */
  async markUnheard(): Promise<void> {
    const names = new Set(this.#unheard.map(quoteQualified));
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

/**
 * Before this version, a walsender that has met changes of a table remembers for the rest of its life whether the table is
 * published: of a partition that got rows before it was attached, it tells nothing (pgoutput's cache was not invalidated by
 * ATTACH PARTITION).
 */
const REMEMBERS_RIGHTLY = 150_000;

/** Also of one that was detached and attached again. */
function partitionsCame(before: readonly TableState[], now: readonly TableState[]): boolean {
  const known = new Map(before.flatMap((state) => Object.entries(state.leaves)));
  return now.some((state) =>
    Object.entries(state.leaves).some(([leaf, attached]) => known.get(leaf) !== attached)
  );
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
function remapReason(indices: readonly string[]): string {
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
