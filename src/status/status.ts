import type { ErrorCode, NextStep } from "../errors/codes.ts";
import type { Lsn } from "../replication/lsn.ts";

/** What a run is doing, as a whole. `standby`: another process follows the slot. */
export type Phase =
  | "standby"
  | "starting"
  | "loading"
  | "catching-up"
  | "streaming"
  | "stopping"
  | "stopped"
  | "halted";

/** A fault as it is shown to operators. */
export interface Fault {
  /** The stable code. */
  readonly code: ErrorCode;
  /** One sentence. */
  readonly message: string;
  /** What to do about it. */
  readonly remedy: string;
  /** What the program does now. */
  readonly next: NextStep;
  /** When it happened. */
  readonly at: Date;
}

/** The state of one index. */
export interface IndexStatus {
  /** The name that readers use (the alias). */
  readonly index: string;
  /** The index behind the alias. */
  readonly generation: string;
  /** How far its initial load is. */
  readonly load: LoadStatus;
  /** Documents written and deleted since the process started. */
  readonly indexed: number;
  /** Documents deleted since the process started. */
  readonly deleted: number;
  /** Entries in the dead-letter list now. */
  readonly deadLetters: number;
}

/** How far the initial load of one index is. */
export interface LoadStatus {
  /** Whether the load runs. */
  readonly state: "pending" | "running" | "done";
  /** Documents acknowledged by this process and, as far as is known, by those before it. */
  readonly documents: number;
  /** PostgreSQL's estimate of the root table's rows. */
  readonly estimate: number;
  /** Chunks whose documents are all acknowledged. */
  readonly chunksDone: number;
  /** Chunks in all; 0 before the load is planned. */
  readonly chunks: number;
  /** When this process began to load; null where it did not. */
  readonly startedAt: Date | null;
  /** When this process finished the load; null where it did not. */
  readonly finishedAt: Date | null;
}

/** The state of the replication stream. */
export interface StreamStatus {
  /** The replication slot. */
  readonly slot: string;
  /** The publication. */
  readonly publication: string;
  /** Whether a session stands. */
  readonly connected: boolean;
  /** End of the WAL that the server last spoke of. */
  readonly received: Lsn;
  /** Everything before this position is in the search engine and in the checkpoint file. */
  readonly confirmed: Lsn;
  /** The server's insert position when it was last asked. */
  readonly server: Lsn;
  /** Bytes of WAL that the slot keeps on the server. */
  readonly retainedBytes: number;
  /** Bytes that may still be written before the slot is lost; null where there is no limit. */
  readonly safeBytes: number | null;
  /** Commit time of the last change received. */
  readonly lastCommitAt: Date | null;
  /** Sessions that ended and were followed by another. */
  readonly reconnects: number;
}

/** The memory of a run's buffers, of all its databases together, in bytes. Plain data. */
export interface MemoryStatus {
  /** What they may take; a single row or document that is larger passes alone. */
  readonly limitBytes: number;
  /** What they take now. */
  readonly heldBytes: number;
  /** The most that they have taken at once. */
  readonly mostBytes: number;
}

/** A snapshot of a whole run, for `/status`, `/ready` and `pgsync status`. Plain data. */
export interface RunStatus {
  /** When the run began. */
  readonly startedAt: Date;
  /** True when every database is ready. */
  readonly ready: boolean;
  /** True when this process stands by for one database or more, and is ready for the others. */
  readonly standby: boolean;
  /** Why it is not ready: one sentence each. */
  readonly notReady: readonly string[];
  /** The memory of its buffers. */
  readonly memory: MemoryStatus;
  /** One for each database of the schema file. */
  readonly databases: readonly SyncStatus[];
}

/** A snapshot of the part of a run that follows one database. Plain data. */
export interface SyncStatus {
  /** What the run is doing. */
  readonly phase: Phase;
  /** When it began. */
  readonly startedAt: Date;
  /** The name of the database. */
  readonly database: string;
  /** As `17.4`. */
  readonly postgresVersion: string;
  /** As `Elasticsearch 8.19.1`. */
  readonly searchEngine: string;
  /** One for each document of the schema file. */
  readonly indices: readonly IndexStatus[];
  /** The replication stream. */
  readonly stream: StreamStatus;
  /**
   * When the last look at the tables' definitions began that is completed: whatever was changed before it is found, and what
   * it demanded goes before every position that is confirmed after it. Null before the first.
   */
  readonly tablesLookedAt: Date | null;
  /** With more dead letters than these, of all its indices, it is not ready; null where there is no limit. */
  readonly maxDeadLetters: number | null;
  /** True when loaded, streaming, and the search engine takes documents. */
  readonly ready: boolean;
  /** True when another process follows the slot, and this one could take over: both servers answer. */
  readonly standby: boolean;
  /** Why it is not ready: one sentence each. */
  readonly notReady: readonly string[];
  /** What the operator should know of, and nothing ends by, for as long as it lasts: one sentence each. */
  readonly warnings: readonly string[];
  /** The newest faults, newest last, at most 20. */
  readonly faults: readonly Fault[];
}

/** What happens during a run, as it happens; the metrics, the progress bar and library users listen to it. */
export type SyncEvent =
  | { readonly type: "phase"; readonly phase: Phase }
  | { readonly type: "load"; readonly index: string; readonly load: LoadStatus }
  | {
    /** Row changes of one table were received. */
    readonly type: "changes";
    readonly table: string;
    readonly operation: "insert" | "update" | "delete" | "truncate";
    readonly count: number;
  }
  | {
    /** A bulk request was answered. */
    readonly type: "bulk";
    readonly index: string;
    readonly source: "load" | "stream" | "verify";
    readonly indexed: number;
    readonly deleted: number;
    /** Items that were older than what the index holds. */
    readonly conflicts: number;
    readonly deadLetters: number;
    readonly bytes: number;
    readonly seconds: number;
  }
  | {
    /** PostgreSQL could not make documents of their rows: they are among the dead letters. */
    readonly type: "refused";
    readonly index: string;
    readonly source: "load" | "stream" | "verify";
    readonly deadLetters: number;
  }
  | {
    /** All documents of a batch of changes are acknowledged. */
    readonly type: "batch";
    readonly changes: number;
    readonly documents: number;
    readonly position: Lsn;
    /** From the oldest commit of the batch to the acknowledgement, by the two machines' clocks; null without a commit. */
    readonly commitToAcknowledgedSeconds: number | null;
    readonly visibilitySeconds: number;
    readonly impactSeconds: number;
    readonly buildSeconds: number;
    readonly bulkSeconds: number;
  }
  | { readonly type: "retry"; readonly of: "postgresql" | "search" | "replication"; readonly fault: Fault }
  | { readonly type: "fault"; readonly fault: Fault }
  | { readonly type: "warning"; readonly message: string };

/** Receives events. It must not throw and must not take long. */
export type SyncObserver = (event: SyncEvent) => void;
