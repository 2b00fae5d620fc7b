import type { ServerFacts } from "../../catalog/types.ts";
import type { JsonObject } from "../../schema/tree.ts";

/** What a run would do, without doing it. Made by `planRun`, printed by `pgsync plan`. */
export interface RunPlan {
  /** In the order of the schema file. */
  readonly databases: readonly DatabasePlan[];
}

/** The part of a plan that concerns one database. */
export interface DatabasePlan {
  /** The name of the database. */
  readonly database: string;
  /** What the server says of itself and of the role. */
  readonly server: ServerFacts;
  /** The replication slot. */
  readonly slot: string;
  /** The publication; it has the name of the slot. */
  readonly publication: string;
  /** What is wrong and must be mended before a run, as error sentences with remedies; empty when all is well. */
  readonly problems: readonly { readonly code: string; readonly message: string; readonly remedy: string }[];
  /** The SQL that bootstrap would run, in order; empty when nothing is missing. */
  readonly bootstrapSql: readonly string[];
  /** Tables whose old values are needed beyond their primary key. */
  readonly replicaIdentities: readonly ReplicaIdentityNeed[];
  /** What the views of the documents are followed by. */
  readonly views: readonly ViewPlan[];
  /** Changes that nobody will hear of, one sentence each. */
  readonly warnings: readonly string[];
  /** Look-ups that would read a whole table. */
  readonly missingIndexes: readonly MissingIndex[];
  /** One for each document of the schema file. */
  readonly indices: readonly IndexPlan[];
}

/** A table whose replica identity must carry more than it does (or already does). */
export interface ReplicaIdentityNeed {
  /** Quoted and qualified. */
  readonly table: string;
  /** The link columns whose old values are needed. */
  readonly columns: readonly string[];
  /** Why, in one sentence. */
  readonly reason: string;
  /** The table carries them already. */
  readonly satisfied: boolean;
  /** The SQL that satisfies it; null when it is satisfied. */
  readonly sql: string | null;
}

/** How changes below a view reach the documents of an index. */
export interface ViewPlan {
  /** The index. */
  readonly index: string;
  /** The node: labels from the root, joined with dots. */
  readonly node: string;
  /** The table below a plain view, or the materialised view; quoted and qualified. */
  readonly table: string;
  /**
   * - `looked up`: a changed row leads to the documents that it touches
   * - `compared`: which documents a change touches cannot be told, so all of the index are compared
   * - `refreshed`: by a refresh, ours or somebody else's; then all documents of the index are compared
   */
  readonly changes: "looked up" | "compared" | "refreshed";
}

/** A link column without an index: each look-up reads the whole table. */
export interface MissingIndex {
  /** Quoted and qualified. */
  readonly table: string;
  /** The columns that are looked up. */
  readonly columns: readonly string[];
  /** Why, in one sentence. */
  readonly reason: string;
  /** `CREATE INDEX CONCURRENTLY …`. */
  readonly sql: string;
}

/** The part of a plan that concerns one index. */
export interface IndexPlan {
  /** The alias that readers use. */
  readonly index: string;
  /** The tree of tables. */
  readonly tree: NodePlanSummary;
  /** The body under `mappings`. */
  readonly mapping: JsonObject;
  /** The body under `settings`. */
  readonly settings: JsonObject;
  /** The statement that builds documents of a whole table (or a chunk of it). */
  readonly loadSql: string;
  /** The statement that builds the documents of given keys. */
  readonly keysSql: string;
  /** For each node below the root: the statement that finds root keys from link values, null where none is needed. */
  readonly impactSql: readonly { readonly node: string; readonly sql: string | null }[];
}

/** A node as `plan` draws it. */
export interface NodePlanSummary {
  /** Labels from the root, joined with dots; the root is its table's name. */
  readonly path: string;
  /** Quoted and qualified. */
  readonly table: string;
  /** How it is joined to its parent, as `rating.book_isbn = book.isbn`; null at the root. */
  readonly join: string | null;
  /** How many rows of it a row of its parent has; null at the root. */
  readonly type: "one_to_one" | "one_to_many" | null;
  /** What PostgreSQL estimates. */
  readonly estimatedRows: number;
  /** The fields that its own columns give. */
  readonly fields: readonly string[];
  /** The nodes below. */
  readonly children: readonly NodePlanSummary[];
}
