import { nearest } from "../schema/suggest.ts";
import type { QualifiedName } from "../schema/tree.ts";
import { buildTypes } from "./column_types.ts";
import type { ColumnRow, ForeignKeyRow, HeapRow, IndexRow, RelationRow, TypeRow } from "./rows.ts";
import type {
  Catalog,
  Column,
  ForeignKey,
  Heap,
  Relation,
  RelationKind,
  ReplicaIdentity,
  ServerFacts,
} from "./types.ts";

/** The rows of all aspects, as they were read. */
export interface CatalogRows {
  readonly relations: readonly RelationRow[];
  readonly heaps: readonly HeapRow[];
  readonly columns: readonly ColumnRow[];
  readonly types: readonly TypeRow[];
  readonly indexes: readonly IndexRow[];
  readonly foreignKeys: readonly ForeignKeyRow[];
}

const KINDS = {
  r: "table",
  p: "partitioned",
  v: "view",
  m: "materialized view",
  f: "foreign table",
} as const satisfies Record<RelationRow["kind"], RelationKind>;

/** Puts the rows of all aspects together into relations, in the order of `rows.relations`. Pure. */
export function buildRelations(rows: CatalogRows): Relation[] {
  const typeOf = buildTypes(rows.types);
  const columnsOf = Map.groupBy(rows.columns, (row) => row.relation);
  const heapsOf = Map.groupBy(rows.heaps, (row) => row.relation);
  const indexesOf = Map.groupBy(rows.indexes, (row) => row.relation);
  const foreignKeysOf = Map.groupBy(rows.foreignKeys, (row) => row.relation);

  return rows.relations.map((row): Relation => {
    const columns = (columnsOf.get(row.oid) ?? []).map((column): Column => ({
      name: column.name,
      number: column.number,
      type: typeOf(column.type, column.deterministic),
      notNull: column.notNull,
      generated: column.generated,
      ...(column.virtual ? { virtual: true } : {}),
      ...(column.collation === null ? {} : { collation: column.collation }),
    }));
    const indexes = indexesOf.get(row.oid) ?? [];
    const heaps = (heapsOf.get(row.oid) ?? []).map((heap): Heap => ({
      oid: heap.oid,
      schema: heap.schema,
      table: heap.table,
      filenode: heap.filenode,
      pages: heap.pages,
      estimatedRows: heap.estimatedRows,
      replicaIdentity: replicaIdentity(heap.replicaIdentity, columns, indexesOf.get(heap.oid) ?? []),
      tidRange: heap.tidRange,
    }));
    return {
      oid: row.oid,
      schema: row.schema,
      table: row.table,
      kind: KINDS[row.kind],
      columns,
      primaryKey: plainColumns(indexes.find((index) => index.primary)) ?? [],
      uniqueIndexes: indexes.flatMap((index) => {
        const names = index.unique && index.immediate && !index.partial ? plainColumns(index) : null;
        if (names === null) return [];
        const allNotNull = names.every((name) =>
          columns.some((column) => column.name === name && column.notNull)
        );
        return [{ name: index.name, columns: names, allNotNull, primary: index.primary }];
      }),
      indexes: indexes.flatMap((index) => {
        const names = leadingColumns(index);
        return index.partial || !index.servesEquality || names.length === 0
          ? []
          : [{ name: index.name, columns: names }];
      }),
      foreignKeys: (foreignKeysOf.get(row.oid) ?? []).map((key): ForeignKey => ({
        name: key.name,
        columns: key.columns,
        target: { schema: key.targetSchema, table: key.targetTable },
        targetColumns: key.targetColumns,
      })),
      replicaIdentity: replicaIdentity(row.replicaIdentity, columns, indexes),
      heaps,
      estimatedRows: heaps.reduce((sum, heap) => sum + heap.estimatedRows, 0),
      canSelect: row.canSelect,
      isOwner: row.isOwner,
      owner: row.owner,
      hasInheritors: row.hasInheritors,
    };
  });
}

/**
 * Makes a catalog of its parts. Pure; tests make theirs with it too.
 *
 * @param names all names that could have been meant, for `suggest`
 */
export function makeCatalog(
  server: ServerFacts,
  relations: readonly Relation[],
  names: readonly QualifiedName[] = relations,
): Catalog {
  const byName = new Map(relations.map((relation) => [keyOf(relation), relation]));
  return {
    server,
    relations,
    relation: (name) => byName.get(keyOf(name)) ?? null,
    suggest: (name) => suggest(name, names),
  };
}

function keyOf(name: QualifiedName): string {
  return JSON.stringify([name.schema, name.table]);
}

/** The same table in other schemas first, then a near name in the same schema, then one elsewhere. */
function suggest(wanted: QualifiedName, names: readonly QualifiedName[]): QualifiedName[] {
  const found = names.filter((name) => name.table === wanted.table && name.schema !== wanted.schema);
  for (const candidates of [names.filter((name) => name.schema === wanted.schema), names]) {
    const table = nearest(wanted.table, new Set(candidates.map((name) => name.table)));
    found.push(...candidates.filter((name) => name.table === table));
  }
  return [...new Map(found.map((name) => [keyOf(name), name])).values()].slice(0, 3);
}

/**
 * What old rows carry. A deferrable primary key cannot be the identity, and an identity index that was dropped
 * leaves none (https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-REPLICA-IDENTITY).
 */
function replicaIdentity(
  code: RelationRow["replicaIdentity"],
  columns: readonly Column[],
  indexes: readonly IndexRow[],
): ReplicaIdentity {
  switch (code) {
    case "d":
      return {
        kind: "default",
        columns: plainColumns(indexes.find((index) => index.primary && index.immediate)) ?? [],
      };
    case "i":
      return { kind: "index", columns: plainColumns(indexes.find((index) => index.replicaIdentity)) ?? [] };
    case "f":
      // pgoutput leaves generated columns out, whatever the identity.
      return {
        kind: "full",
        columns: columns.filter((column) => !column.generated).map((column) => column.name),
      };
    case "n":
      return { kind: "nothing", columns: [] };
  }
}

/** The key columns of an index, or null where one is an expression or there is no index. */
function plainColumns(index: IndexRow | undefined): string[] | null {
  if (index === undefined) return null;
  const names = leadingColumns(index);
  return names.length === index.columns.length ? names : null;
}

function leadingColumns(index: IndexRow): string[] {
  const names: string[] = [];
  for (const name of index.columns) {
    if (name === null) break;
    names.push(name);
  }
  return names;
}
