import type { QualifiedName } from "../schema/tree.ts";

/** What kind of relation a name stands for (`pg_class.relkind`). */
export type RelationKind = "table" | "partitioned" | "view" | "materialized view" | "foreign table";

/** The kind of a type, as far as JSON, ids and the index mapping need it. */
export type TypeCategory = "base" | "enum" | "domain" | "array" | "composite" | "range" | "multirange";

/** A column's type. Domains are resolved: `name` is the base type's, `domain` the domain's own. */
export interface ColumnType {
  /** `pg_type.oid` of the declared type (the domain's, where it is one). */
  readonly oid: number;
  /** The base type's internal name in pg_catalog style: `int4`, `text`, `bpchar`, `timestamptz`, `_int4`, an enum's own name. */
  readonly name: string;
  /** The declared type ready to stand in SQL after `::`, qualified and quoted where needed (`pg_catalog.format_type` under an empty search_path). */
  readonly sql: string;
  readonly category: TypeCategory;
  /** For arrays: the element's type; for domains over arrays too. */
  readonly element: ColumnType | null;
  /** False where two values that are equal may print differently (numeric, float, citext, bpchar, nondeterministic collations …). */
  readonly equalityIsIdentity: boolean;
  /**
   * The equality operator to use between two such values, where it is not `=` of pg_catalog: `OPERATOR(public.=)`
   * for citext, whose own operator an empty search_path hides (the comparison would silently be that of text).
   */
  readonly equals?: string;
  /** The attributes of a composite type, in order; absent for other types. */
  readonly attributes?: readonly { readonly name: string; readonly type: ColumnType }[];
}

/** A column of a relation, system columns excluded. */
export interface Column {
  readonly name: string;
  /** `pg_attribute.attnum`. */
  readonly number: number;
  readonly type: ColumnType;
  readonly notNull: boolean;
  /** Generated (stored or virtual): computed by PostgreSQL, not in the stream before PG 18. */
  readonly generated: boolean;
  /**
   * Generated when it is read (PostgreSQL 18). PostgreSQL refuses UPDATE and DELETE of a published table that has such a
   * column and REPLICA IDENTITY FULL.
   */
  readonly virtual?: boolean;
  /** The qualified name of its collation; absent where that is the database's, or the type has none. */
  readonly collation?: string;
}

/** A unique index over plain columns (no expressions, no predicate, immediate and valid). */
export interface UniqueIndex {
  readonly name: string;
  readonly columns: readonly string[];
  /** All columns NOT NULL, so the index may serve as replica identity. */
  readonly allNotNull: boolean;
  readonly primary: boolean;
}

/** Any index over plain leading columns, to find the missing ones. */
export interface PlainIndex {
  readonly name: string;
  /** The leading plain columns, up to the first expression. */
  readonly columns: readonly string[];
}

/** A foreign key: this relation's `columns` refer to `target`'s `targetColumns`, pair by pair. */
export interface ForeignKey {
  readonly name: string;
  readonly columns: readonly string[];
  readonly target: QualifiedName;
  readonly targetColumns: readonly string[];
}

/** What the stream carries of old rows (`pg_class.relreplident`). */
export interface ReplicaIdentity {
  readonly kind: "default" | "full" | "nothing" | "index";
  /** The columns whose old values are in the stream: all for full, none for nothing or a default without primary key. */
  readonly columns: readonly string[];
}

/** A leaf that holds rows: the table itself, or a leaf partition. */
export interface Heap extends QualifiedName {
  readonly oid: number;
  /** `pg_relation_filenode`: changes when the table is rewritten. 0 for relations without storage. */
  readonly filenode: number;
  /** Size of the main fork in pages of the server's block size. */
  readonly pages: number;
  readonly estimatedRows: number;
  readonly replicaIdentity: ReplicaIdentity;
  /** Whether TID range scans fit (a heap table on PostgreSQL 14 or newer). */
  readonly tidRange: boolean;
}

/** A table that a view reads, itself or through further views. Of a partition it is the topmost table. */
export interface ViewTable extends QualifiedName {
  /** What it is, where the stream cannot tell of its changes: `a foreign table`; null where it can. */
  readonly unheard: string | null;
  /** The columns that the rules use, which may be none (`count(*)`); null: any, for whole rows are used. */
  readonly used: readonly string[] | null;
  /**
   * Columns of the view by the column of this table that they pass on unchanged. A changed row of the table touches only
   * the view rows that hold its old or its new value of each (`view_lineage.ts`). Empty where that is not certain.
   */
  readonly passed: ReadonlyMap<string, string>;
}

/** A materialised view, as far as its refreshing is concerned. */
export interface MaterializedView extends QualifiedName {
  readonly oid: number;
  /** False after WITH NO DATA: it cannot be read. */
  readonly populated: boolean;
  readonly owner: string;
  /** The role owns it, or may MAINTAIN it (PostgreSQL 17). */
  readonly mayRefresh: boolean;
  /** It has a unique index as REFRESH … CONCURRENTLY needs one. */
  readonly concurrently: boolean;
}

/** What a view is made of. */
export interface ViewDefinition {
  /** The tables whose rows the view shows now. None for a materialised view, which shows those of its last refresh. */
  readonly tables: readonly ViewTable[];
  /** The materialised views at it or below, each after those that it reads. */
  readonly materializedViews: readonly MaterializedView[];
  /** All views that it reads, itself or through others. */
  readonly below: readonly QualifiedName[];
  /** Functions that may read tables which PostgreSQL does not tell of. */
  readonly opaque: readonly string[];
  /** What it shows depends on the time: rows come and go with no change of a table. */
  readonly asksForTime: boolean;
}

/** A table or view that the schema file names. */
export interface Relation extends QualifiedName {
  readonly oid: number;
  readonly kind: RelationKind;
  readonly columns: readonly Column[];
  /** Primary key columns in key order; empty where there is none. */
  readonly primaryKey: readonly string[];
  readonly uniqueIndexes: readonly UniqueIndex[];
  readonly indexes: readonly PlainIndex[];
  readonly foreignKeys: readonly ForeignKey[];
  readonly replicaIdentity: ReplicaIdentity;
  /** The table itself, or all its leaf partitions; empty for views. */
  readonly heaps: readonly Heap[];
  /** `pg_class.reltuples` summed over the heaps, never negative. */
  readonly estimatedRows: number;
  readonly canSelect: boolean;
  /** The role owns it (itself, by membership, or as superuser), so it may change the replica identity and publish it. */
  readonly isOwner: boolean;
  readonly owner: string;
  /** Tables inherit from it by INHERITS: a query of it reads their rows too. False for partitioned tables. */
  readonly hasInheritors: boolean;
  /** What it is made of; absent where it is no view. */
  readonly view?: ViewDefinition;
}

/** What the server says of itself and of the role. */
export interface ServerFacts {
  /** `server_version_num`, as 170004. */
  readonly versionNumber: number;
  /** `server_version`, as `17.4`. */
  readonly version: string;
  /** The database that was asked. */
  readonly database: string;
  /** The role that asked. */
  readonly role: string;
  /** Whether it is a superuser. */
  readonly isSuperuser: boolean;
  /** May start replication: superuser or the REPLICATION attribute (or `rds_replication` and the like). */
  readonly canReplicate: boolean;
  /** May create in the database (needed for a publication). */
  readonly canCreate: boolean;
  /** `wal_level`: streaming needs `logical`. */
  readonly walLevel: string;
  /** `max_replication_slots`. */
  readonly maxReplicationSlots: number;
  /** Slots that exist now. */
  readonly usedReplicationSlots: number;
  /** `max_wal_senders`. */
  readonly maxWalSenders: number;
  /** Walsenders at work now. */
  readonly usedWalSenders: number;
  /** `system_identifier` of the cluster, as text. */
  readonly systemIdentifier: string;
  /** The timeline, which grows with each promotion. */
  readonly timeline: number;
  /** Whether the server is a standby. */
  readonly inRecovery: boolean;
  /** The encoding of the database, as `UTF8`. */
  readonly encoding: string;
  /** Bytes in a page. */
  readonly blockSize: number;
}

/** Everything read of PostgreSQL's catalog for one schema file, at one moment. */
export interface Catalog {
  readonly server: ServerFacts;
  /** Finds a relation; null where it was not asked for or does not exist. */
  relation(name: QualifiedName): Relation | null;
  readonly relations: readonly Relation[];
  /** Names of existing relations near to one that was not found, best first, at most three. */
  suggest(name: QualifiedName): readonly QualifiedName[];
}
