import type { Lsn } from "../replication/lsn.ts";

/** To whom a checkpoint file belongs. */
export interface Identity {
  /** PostgreSQL's system identifier, in decimal (IDENTIFY_SYSTEM). */
  readonly systemIdentifier: string;
  /** It grows when a standby is promoted. */
  readonly timeline: number;
  readonly database: string;
  readonly slot: string;
}

/** A transaction of the stream, as one server has committed it, and no other history of it. */
export interface KnownCommit {
  /** Where its commit record begins. */
  readonly lsn: Lsn;
  /** The lower 32 bits of its id. */
  readonly xid: number;
  /** Milliseconds since 1970, by the server's clock. */
  readonly timeMs: number;
}

/** Changes that were lost, so that all documents have to be loaded anew. */
export interface NotedLoss {
  /** Of the error that told of it. */
  readonly code: string;
  /** One sentence. */
  readonly reason: string;
  /** Its mending was begun: the slot may have been dropped by it. */
  readonly begun: boolean;
  /** It may be mended by name only: the server may be the wrong one. */
  readonly byName: boolean;
}

/** A part of a root table that the initial load reads in one go. */
export interface LoadChunk {
  /** Unique within the load of an index. */
  readonly number: number;
  readonly heapSchema: string;
  readonly heapTable: string;
  readonly heapOid: number;
  /** `pg_relation_filenode` when the plan was made: another one means that row addresses have moved. */
  readonly filenode: number;
  /** How the chunk is bounded: by row addresses, by keys, or not at all. */
  readonly kind: "tid" | "keys" | "whole";
  /** Lower bound, opaque here; null: from the beginning. */
  readonly from: string | null;
  /** Upper bound, opaque here; null: to the end. */
  readonly to: string | null;
}

/** A chunk with what is known of its progress. */
export interface LoadChunkProgress extends LoadChunk {
  /** All its documents are acknowledged by the search engine. */
  readonly done: boolean;
  /** Documents acknowledged; 0 until it is done. */
  readonly documents: number;
}

/** The initial load of one index as the file knows it. */
export interface LoadProgress {
  readonly generation: string;
  /** By number. */
  readonly chunks: readonly LoadChunkProgress[];
  readonly finished: boolean;
  /** The position that the stream must pass before the index is ready; null until finished. */
  readonly endLsn: Lsn | null;
}

/** A document, or the deletion of one, that the search engine refused for good. */
export interface RefusedDocument {
  /** The index, as the schema file names it. */
  readonly index: string;
  /** The document's `_id`. */
  readonly id: string;
  /** What was to be done with it. */
  readonly operation: "index" | "delete";
  /** HTTP status of the item; 0 where PostgreSQL could not make the document. */
  readonly status: number;
  /** The engine's error type, as `mapper_parsing_exception`; `postgresql_` and the SQLSTATE where PostgreSQL refused. */
  readonly type: string;
  /** The engine's sentence, or PostgreSQL's. */
  readonly reason: string;
  /** Where the changes stand in the WAL; null where there were none: in the initial load. */
  readonly position: Lsn | null;
}

/** A refused document with what tells older builds from newer ones. */
export interface DeadLetterEntry extends RefusedDocument {
  /** The version in which it was refused. */
  readonly version: bigint;
}

/** A document that the search engine has taken, or whose deletion it has taken. */
export interface TakenDocument {
  readonly id: string;
  readonly version: bigint;
}

/** A dead letter as it is kept. */
export interface DeadLetter extends RefusedDocument {
  /** When it was first refused. */
  readonly firstAt: Date;
  /** When it was last refused. */
  readonly lastAt: Date;
  /** How often it was refused. */
  readonly tries: number;
}
