import type { Lsn } from "./lsn.ts";
import type { Tuple } from "./tuple.ts";

/** Which columns an old row carries (`ALTER TABLE … REPLICA IDENTITY`). */
export type ReplicaIdentity = "default" | "nothing" | "full" | "index";

/** A column as the stream describes it, in the order of the tuples. */
export interface RelationColumn {
  readonly name: string;
  readonly typeOid: number;
  /** `atttypmod`: -1 where the type has none. */
  readonly typeModifier: number;
  /** Part of the replica identity: old rows carry it. With REPLICA IDENTITY FULL this is every column. */
  readonly isKey: boolean;
}

/** A table of the publication, sent before its first change and again whenever it may have changed. */
export interface Relation {
  readonly kind: "relation";
  readonly relationId: number;
  readonly schema: string;
  readonly table: string;
  readonly replicaIdentity: ReplicaIdentity;
  readonly columns: readonly RelationColumn[];
}

/** A transaction begins. Transactions come one after the other, in the order of their commits. */
export interface Begin {
  readonly kind: "begin";
  /** The LSN of the transaction's commit record. */
  readonly finalLsn: Lsn;
  /** When it was committed, by the server's clock: milliseconds since 1970, with microseconds as fraction. */
  readonly commitTimeMs: number;
  /** The lower 32 bits of the transaction id. */
  readonly xid: number;
}

/** A transaction is complete. */
export interface Commit {
  readonly kind: "commit";
  /** The LSN of the commit record; to acknowledge it would bring the transaction again. */
  readonly commitLsn: Lsn;
  /** The end of the commit record: the position to acknowledge. */
  readonly endLsn: Lsn;
  readonly commitTimeMs: number;
}

export interface Insert {
  readonly kind: "insert";
  readonly relation: Relation;
  readonly newTuple: Tuple;
}

export interface Update {
  readonly kind: "update";
  readonly relation: Relation;
  /** The row before: with REPLICA IDENTITY FULL whole, else only the key, and only where the key changed. */
  readonly oldTuple: Tuple | null;
  readonly newTuple: Tuple;
}

export interface Delete {
  readonly kind: "delete";
  readonly relation: Relation;
  /** The row before: with REPLICA IDENTITY FULL whole, else only the key. */
  readonly oldTuple: Tuple;
}

export interface Truncate {
  readonly kind: "truncate";
  readonly relations: readonly Relation[];
  readonly cascade: boolean;
  readonly restartIdentity: boolean;
}

/** A type that is not built in, sent before a relation that uses it. */
export interface TypeDescription {
  readonly kind: "type";
  readonly typeOid: number;
  readonly schema: string;
  readonly name: string;
}

/** The transaction came from another node of a replication set. */
export interface Origin {
  readonly kind: "origin";
  readonly commitLsn: Lsn;
  readonly name: string;
}

/** What `pg_logical_emit_message` wrote. */
export interface LogicalMessage {
  readonly kind: "message";
  /** Whether it belongs to the transaction around it; otherwise it stands alone and is sent at once, even before a transaction that began earlier. */
  readonly transactional: boolean;
  readonly lsn: Lsn;
  readonly prefix: string;
  readonly content: Buffer;
}

/** A change of one row. */
export type RowChange = Insert | Update | Delete;

/** Any message of pgoutput, protocol version 1. */
export type PgoutputMessage =
  | Begin
  | Commit
  | Relation
  | Insert
  | Update
  | Delete
  | Truncate
  | TypeDescription
  | Origin
  | LogicalMessage;
