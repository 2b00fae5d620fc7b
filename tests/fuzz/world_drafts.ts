/** A world while it is being made: tables and references that still grow, and the trees over them. */
import type { WorldReference } from "./world.ts";

/** A type that keys and links may have, with the values that are in use for it. */
export interface KeyType {
  /** In a word, for the traits: `int`, `enum`. */
  readonly kind: string;
  /** As it stands in CREATE TABLE. */
  readonly sql: string;
  /** Values as texts; a literal is made of one by `literal`. */
  readonly values: readonly string[];
}

export interface ColumnDraft {
  name: string;
  readonly sql: string;
  /** In a word, for the traits: `jsonb`, `generated`. */
  readonly kind: string;
  /** Null for a plain value. Columns that share the very same key type have the same values. */
  readonly keyType: KeyType | null;
  notNull: boolean;
  /** The expression of a generated column. */
  readonly generated: string | null;
  domain: readonly string[];
  /** Large values are stored beside the row, so that an UPDATE leaves them out of the stream. */
  readonly external: boolean;
  /** The column of a table that a view's column stands for. */
  readonly of?: ColumnDraft;
}

export interface PartitionDraft {
  readonly strategy: "list" | "range" | "hash";
  readonly column: ColumnDraft;
  /** What follows the partition's name in CREATE TABLE: `FOR VALUES …`, `DEFAULT`. */
  readonly bounds: readonly string[];
  /** The first partition is made on its own with its columns in another order, then attached. */
  readonly attached: boolean;
  /** The last partition is divided again. */
  readonly subdivided: boolean;
}

export interface TableDraft {
  readonly schema: string;
  readonly name: string;
  /** Joins two others, and is made for it. */
  readonly joins: boolean;
  columns: ColumnDraft[];
  primaryKey: ColumnDraft[];
  readonly uniques: ColumnDraft[][];
  partitions: PartitionDraft | null;
  replicaIdentity: "FULL" | "NOTHING" | null;
  /** Null for a table. The primary key of a view is what the schema file says. */
  readonly view: ViewDraft | null;
}

export interface ViewDraft {
  /** In a word, for the traits. */
  readonly kind: string;
  query: string;
  /** The tables that it reads, through other views, too. */
  readonly tables: readonly TableDraft[];
  /** What its query names: tables and views. */
  readonly sources: readonly TableDraft[];
  materialized: boolean;
  /** No two of its rows have the same key. */
  keyIsUnique: boolean;
}

export interface ReferenceDraft {
  readonly from: TableDraft;
  readonly columns: readonly ColumnDraft[];
  readonly target: TableDraft;
  readonly targetColumns: readonly ColumnDraft[];
  constraint: WorldReference["constraint"];
  readonly indexed: boolean;
}

/** All tables of a world and what joins them. */
export interface Graph {
  readonly schemas: readonly string[];
  /** Statements that make types. */
  readonly types: string[];
  readonly tables: TableDraft[];
  readonly references: ReferenceDraft[];
}

/** How a node is joined to the one above it. */
export type EdgeDraft =
  /** By a reference: `down` where the node's rows hold it, `up` where the rows above do. */
  | { readonly kind: "direct"; readonly reference: ReferenceDraft; readonly direction: "down" | "up" }
  | {
    readonly kind: "through";
    readonly table: TableDraft;
    readonly toParent: ReferenceDraft;
    readonly toChild: ReferenceDraft;
  };

export interface NodeDraft {
  readonly table: TableDraft;
  readonly parent: NodeDraft | null;
  readonly edge: EdgeDraft | null;
  readonly many: boolean;
  readonly scalar: boolean;
  /** Entries of `columns`; null for all. */
  columns: readonly string[] | null;
  /** Columns that the entries name. */
  named: readonly ColumnDraft[];
  children: NodeDraft[];
  /** As it stands in the schema file. */
  json: Record<string, unknown>;
}

/** Whether a view reads another. */
export function readsViews({ sources }: ViewDraft): boolean {
  return sources.some((source) => source.view !== null);
}

/** A name as it stands in SQL. */
export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function qualified({ schema, name }: { readonly schema: string; readonly name: string }): string {
  return `${quote(schema)}.${quote(name)}`;
}

/** A value of a key type in SQL. */
export function literal(sql: string, value: string): string {
  return `'${value.replaceAll("'", "''")}'::${sql}`;
}
