/**
 * The schema file after parsing: a tree of nodes for each document. Everything is checked and filled with its
 * default here; whether tables and columns exist is the catalog's matter.
 */

/** A JSON value as the schema file may hold it. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };
/** A JSON object as the schema file may hold it. */
export type JsonObject = { [key: string]: JsonValue };

/** Whether a value of JSON is an object, no list. */
export function isObject(value: JsonValue | undefined): value is JsonObject;
export function isObject(value: unknown): value is Record<string, unknown>;
export function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Where something stands in the schema file. */
export interface Place {
  /** Path, URL or `<stdin>`. */
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  /** 1-based. */
  readonly column: number;
  /** The path inside the file, as `[0].nodes.children[1].columns[0]`. */
  readonly path: string;
}

/** A table or view named in the schema file. */
export interface QualifiedName {
  /** The PostgreSQL schema. */
  readonly schema: string;
  /** The table or view. */
  readonly table: string;
}

/** The whole schema file. */
export interface SchemaFile {
  /** Path, URL or `<stdin>`. */
  readonly source: string;
  /** One entry for each index, in the order of the file. */
  readonly documents: readonly DocumentSchema[];
  /** Things that are accepted but have no effect; each is said once at start. */
  readonly warnings: readonly SchemaWarning[];
}

/** Something accepted without effect. */
export interface SchemaWarning {
  /** Where it stands. */
  readonly place: Place;
  /** What has no effect, in one sentence. */
  readonly message: string;
}

/** One entry of the schema file: a database's rows become the documents of an index. */
export interface DocumentSchema {
  /** The PostgreSQL database. */
  readonly database: string;
  /** The index (an alias in the search engine). */
  readonly index: string;
  /** The table whose rows become documents. */
  readonly root: NodeSchema;
  /** Names of plugins, in the order in which they run. */
  readonly plugins: readonly string[];
  /** The ingest pipeline that documents go through. */
  readonly pipeline: string | null;
  /** The field whose value routes the document. */
  readonly routing: string | null;
  /** Index settings, as given. */
  readonly setting: JsonObject | null;
  /** Index mapping (properties, or a whole mapping when it has dynamic_templates), as given. */
  readonly mapping: JsonObject | null;
  /** A whole index mapping, as given. */
  readonly mappings: JsonObject | null;
  /** Where the entry stands in the file. */
  readonly place: Place;
}

/** One place of a table in the tree. The same table may stand in several. */
export interface NodeSchema extends QualifiedName {
  /** The field under which the node stands in its parent; the table's name by default. */
  readonly label: string;
  /** The columns in the order of the file; empty means all. Entries may be JSON paths (`doc->a->>0`). */
  readonly columns: readonly string[];
  /** The key of a view; ignored for tables. */
  readonly primaryKey: readonly string[];
  /** The tables whose changes matter to a view; none: those that it reads. */
  readonly baseTables: readonly QualifiedName[];
  /** How the node is joined to its parent; null at the root only. */
  readonly relationship: Relationship | null;
  /** What happens to the values and names of the node. */
  readonly transform: Transform;
  /** The nodes below, in the order of the file. */
  readonly children: readonly NodeSchema[];
  /** Where the node stands in the file. */
  readonly place: Place;
}

/** How a node is joined to its parent. */
export interface Relationship {
  /** How many rows of the node a row of its parent has. */
  readonly type: "one_to_one" | "one_to_many";
  /** `scalar`: the first column's value instead of an object. */
  readonly variant: "object" | "scalar";
  /** The link tables between parent and child; none or one. */
  readonly throughTables: readonly QualifiedName[];
  /** Column pairs given by hand, in place of the constraint: parent[i] = child[i]. */
  readonly foreignKey: { readonly parent: readonly string[]; readonly child: readonly string[] } | null;
  /** Where it stands in the file. */
  readonly place: Place;
}

/** The transforms of a node, as written (nested under child labels where the file nests them). */
export interface Transform {
  /** Column → field. */
  readonly rename: JsonObject;
  /** Field → value → other value. */
  readonly replace: JsonObject;
  /** Fields that are made of several columns. */
  readonly concat: readonly JsonObject[];
  /** Field → Elasticsearch type and parameters. */
  readonly mapping: JsonObject;
  /** Declared by PGSync, without effect. */
  readonly move: JsonObject | null;
}
