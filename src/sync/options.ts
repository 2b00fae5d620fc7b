import type { PostgresOptions } from "../postgres/options.ts";
import type { SchemaFile } from "../schema/tree.ts";
import type { SearchOptions } from "../search/options.ts";

/** What is done where changes are lost. */
export type OnSlotLoss = "halt" | "resync";

/** Everything a run needs to know. The command line makes it of flags and environment; library users write it. */
export interface RunOptions {
  /** The documents to keep. */
  readonly schema: SchemaFile;
  /** Where the rows are. */
  readonly postgres: PostgresOptions;
  /**
   * A hot standby of it, to build documents from; null: they are built from the primary. Slot, publication, catalog and what
   * is written stay with the primary. It must name one server at a time.
   */
  readonly postgresReplica: PostgresOptions | null;
  /** Where the documents go. */
  readonly search: SearchOptions;
  /** Name of the replication slot and publication; null: `pgsync_<database>`. Only allowed with a single database. */
  readonly slot: string | null;
  /** Folder of the checkpoint files (`<slot>.checkpoint`), one for each database. */
  readonly checkpointFolder: string;
  /** Make what is missing (publication, replica identities, slot, indices) before the run. */
  readonly bootstrap: boolean;
  /**
   * What is done where changes are lost, so that only a load of all documents helps (docs/operations.md): `halt`, or begin a new
   * slot and load the documents anew in place. Null: `resync` with `bootstrap`, else `halt`.
   */
  readonly onSlotLoss: OnSlotLoss | null;
  /**
   * Stand by while another process follows a database, and take over when it is gone (docs/operations.md). For every process
   * that may follow the same slots, the first one too; each with `daemon`.
   */
  readonly standby: boolean;
  /** Parallel sessions of the initial load. */
  readonly loadWorkers: number;
  /**
   * Rows of the root table in a chunk of the initial load, about: enough for set-wise gathering to pay, few enough that
   * a crash, which costs the chunks under way, costs seconds. A plan once made is kept when this changes.
   */
  readonly loadChunkRows: number;
  /** A bulk request is sent when its body reaches this many bytes (a smaller one with little memory, docs/operations.md)… */
  readonly bulkBytes: number;
  /** …or this many documents. */
  readonly bulkDocuments: number;
  /** Bulk requests under way at once, load and stream together. */
  readonly bulkConcurrency: number;
  /**
   * Bytes that all buffers of the run may take together, at least 4 MiB (docs/operations.md): changes, keys, documents on their way. When they are
   * full, PostgreSQL is read no further. The runtime's own memory comes on top.
   */
  readonly maxMemoryBytes: number;
  /** Seconds between two refreshes of the materialised views that documents read; 0: never. */
  readonly viewRefreshSeconds: number;
  /** With more dead letters of one database the run is not ready, and an initial load waits; 0: no limit. */
  readonly maxDeadLetters: number;
  /** Milliseconds between two looks at the tables' definitions, of whose changes the stream does not tell. */
  readonly catalogIntervalMs: number;
  /**
   * Bytes of WAL that the slot may keep before the log and the status warn of it, where PostgreSQL sets no limit
   * (max_slot_wal_keep_size); 0: never. With a limit they warn when less than half of it is left, or half an hour.
   */
  readonly walWarningBytes: number;
}

/** The defaults of everything that has one. */
export const RUN_DEFAULTS = {
  postgresReplica: null,
  slot: null,
  checkpointFolder: ".",
  bootstrap: false,
  onSlotLoss: null,
  standby: false,
  loadWorkers: 2,
  loadChunkRows: 20_000,
  bulkBytes: 2 * 1024 * 1024,
  bulkDocuments: 5_000,
  bulkConcurrency: 3,
  maxMemoryBytes: 64 * 1024 * 1024,
  viewRefreshSeconds: 300,
  maxDeadLetters: 10_000,
  catalogIntervalMs: 5_000,
  walWarningBytes: 1024 ** 3,
} as const satisfies Partial<RunOptions>;
