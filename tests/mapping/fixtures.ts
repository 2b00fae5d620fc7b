/** Relations and nodes made by hand, for the pure parts of the mapping. */
import { makeCatalog } from "../../src/catalog/build.ts";
import type { Catalog, ColumnType, ForeignKey, Relation, ServerFacts } from "../../src/catalog/types.ts";
import type { NodeSchema, Place, Relationship } from "../../src/schema/tree.ts";

/** A server on which all is well. */
export const SERVER: ServerFacts = {
  versionNumber: 170004,
  version: "17.4",
  database: "shop",
  role: "reader",
  isSuperuser: false,
  canReplicate: true,
  canCreate: true,
  walLevel: "logical",
  maxReplicationSlots: 10,
  usedReplicationSlots: 1,
  maxWalSenders: 10,
  usedWalSenders: 1,
  systemIdentifier: "7711015212588832743",
  timeline: 1,
  inRecovery: false,
  encoding: "UTF8",
  blockSize: 8192,
};

export const PLACE: Place = { file: "schema.yaml", line: 3, column: 5, path: "[0].nodes.children[0]" };

/** A base type by its internal name. */
export function type(name: string): ColumnType {
  return { oid: 1, name, sql: name, category: "base", element: null, equalityIsIdentity: true };
}

/** What may be said of a relation beyond its columns. */
export interface Keys {
  readonly schema?: string;
  readonly key?: readonly string[];
  readonly unique?: readonly (readonly string[])[];
  /** `column,column -> table(column,column)`, in the relation's own schema. */
  readonly references?: readonly string[];
  readonly canSelect?: boolean;
}

/** A table with columns of base types, given as name → type. */
export function relation(
  table: string,
  columns: Readonly<Record<string, string>>,
  keys: Keys = {},
): Relation {
  const { schema = "public", key = [], unique = [], references = [], canSelect = true } = keys;
  return {
    oid: 16384,
    schema,
    table,
    kind: "table",
    columns: Object.entries(columns).map(([name, typeName], index) => ({
      name,
      number: index + 1,
      type: type(typeName),
      notNull: key.includes(name),
      generated: false,
    })),
    primaryKey: key,
    uniqueIndexes: [
      ...(key.length > 0 ? [{ name: `${table}_pkey`, columns: key, allNotNull: true, primary: true }] : []),
      ...unique.map((names) => ({
        name: `${table}_${names}_key`,
        columns: names,
        allNotNull: false,
        primary: false,
      })),
    ],
    indexes: [],
    foreignKeys: references.map((text) => foreignKey(schema, table, text)),
    replicaIdentity: { kind: "default", columns: key },
    heaps: [],
    estimatedRows: 0,
    canSelect,
    isOwner: false,
    hasInheritors: false,
    owner: "postgres",
  };
}

function foreignKey(schema: string, table: string, text: string): ForeignKey {
  const match = /^(.+) -> (.+)\((.+)\)$/.exec(text);
  if (match === null) throw new Error(`not a foreign key: ${text}`);
  const [, columns = "", target = "", targetColumns = ""] = match;
  return {
    name: `${table}_${columns.replaceAll(",", "_")}_fkey`,
    columns: columns.split(","),
    target: { schema, table: target },
    targetColumns: targetColumns.split(","),
  };
}

export function catalogOf(...relations: readonly Relation[]): Catalog {
  return makeCatalog(SERVER, relations);
}

/** A node with defaults for what is not given; a relationship makes it a child. */
export function node(
  table: string,
  given: Partial<Omit<NodeSchema, "relationship" | "transform">> & {
    readonly relationship?: Partial<Relationship> | null;
    readonly transform?: Partial<NodeSchema["transform"]>;
  } = {},
): NodeSchema {
  const { relationship = null, transform, ...rest } = given;
  return {
    schema: "public",
    table,
    label: table,
    columns: [],
    primaryKey: [],
    baseTables: [],
    children: [],
    place: PLACE,
    ...rest,
    relationship: relationship === null ? null : {
      type: "one_to_many",
      variant: "object",
      throughTables: [],
      foreignKey: null,
      place: { ...PLACE, line: PLACE.line + 2, path: `${PLACE.path}.relationship` },
      ...relationship,
    },
    transform: { rename: {}, replace: {}, concat: [], mapping: {}, move: null, ...transform },
  };
}
