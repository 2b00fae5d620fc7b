import type { Relation, ReplicaIdentity } from "../catalog/types.ts";
import { PgsyncError } from "../errors/error.ts";
import { quoteIdentifier, quoteQualified } from "../postgres/quote.ts";
import type { QualifiedName } from "../schema/tree.ts";
import type { ChangeSource } from "./change_sources.ts";

/** A table whose old link values are needed, and whether the stream carries them. */
export interface IdentityNeed {
  readonly relation: Relation;
  /** The link columns, of all nodes together. */
  readonly columns: readonly string[];
  /** Why, in one sentence. */
  readonly reason: string;
  /** The SQL that sets what is missing: one statement for each table, leaf partitions included; empty where nothing is. */
  readonly sql: readonly string[];
  /** The table itself lacks them, not only a partition that was made later. */
  readonly lacksItself: boolean;
}

/**
 * What each table's replica identity must carry: the columns that link its rows to a document. Tables that need no more
 * than their primary key, and have it, are left out.
 *
 * @param sources the change sources of all documents that the tables belong to
 */
export function identityNeeds(sources: readonly ChangeSource[]): IdentityNeed[] {
  const byTable = new Map<number, ChangeSource[]>();
  for (const source of sources) {
    const list = byTable.get(source.relation.oid) ?? [];
    list.push(source);
    byTable.set(source.relation.oid, list);
  }
  const needs: IdentityNeed[] = [];
  for (const list of byTable.values()) {
    const [first] = list;
    if (first === undefined) continue;
    const { relation } = first;
    const columns = [...new Set(list.flatMap((source) => source.linkColumns.map((column) => column.name)))];
    const lacking = storedIn(relation).filter((table) => !suffices(relation, table, columns));
    if (inPrimaryKey(relation, columns) && lacking.length === 0) continue;
    needs.push({
      relation,
      columns,
      reason: reasonFor(list, columns),
      sql: lacking.map((table) => identitySql(relation, table, columns)),
      lacksItself: !identitySuffices(relation, columns),
    });
  }
  return needs;
}

/**
 * The tables whose identity counts. A partitioned table's changes are published under its own name: the leaf partition
 * decides which old values are written to the WAL, but the stream describes them by the identity of the root.
 */
function storedIn(relation: Relation): readonly Identified[] {
  return relation.kind === "partitioned" ? [relation, ...relation.heaps] : relation.heaps;
}

/** A table or leaf partition with its identity. */
interface Identified extends QualifiedName {
  readonly replicaIdentity: ReplicaIdentity;
}

/** Whether an identity carries the old values of these columns. */
export function carries(identity: ReplicaIdentity, columns: readonly string[]): boolean {
  return columns.every((column) => identity.columns.includes(column));
}

/**
 * Whether a partitioned table can rely on an identity by an index: never. A partition that is made later has the default
 * identity. What its UPDATEs leave out (all old values, where the primary key stays) cannot be told from an UPDATE that
 * left the index's columns as they were; where whole rows are promised, it can.
 *
 * @param columns the link columns that the old row must carry
 */
export function trustsIndex(
  relation: Pick<Relation, "kind" | "primaryKey">,
  columns: readonly string[],
): boolean {
  return relation.kind !== "partitioned" || inPrimaryKey(relation, columns);
}

/** Whether the stream tells the old values of these columns for the rows that a table or leaf partition holds. */
function suffices(relation: Relation, table: Identified, columns: readonly string[]): boolean {
  const { kind } = table.replicaIdentity;
  // Published, the table's rows could not be updated or deleted any more.
  if (kind === "full" && hasVirtualColumn(relation)) return false;
  // Where nothing is needed (a table below a view) there must be an identity all the same.
  if (table.replicaIdentity.columns.length === 0 || !carries(table.replicaIdentity, columns)) return false;
  if (kind === "index" && !trustsIndex(relation, columns)) return false;
  // Where its root promises whole rows, each UPDATE of a partition that sends none would have all documents compared.
  return relation.replicaIdentity.kind !== "full" || kind === "full";
}

/** Whether the table's own identity tells the old values of these columns; its partitions' are another matter. */
export function identitySuffices(
  relation: Pick<Relation, "kind" | "primaryKey" | "replicaIdentity">,
  columns: readonly string[],
): boolean {
  return carries(relation.replicaIdentity, columns) &&
    (relation.replicaIdentity.kind !== "index" || trustsIndex(relation, columns));
}

function inPrimaryKey(relation: Pick<Relation, "primaryKey">, columns: readonly string[]): boolean {
  return columns.every((column) => relation.primaryKey.includes(column));
}

/** PostgreSQL 18 takes no UPDATE or DELETE of a published table with a virtual generated column and the identity FULL. */
function hasVirtualColumn(relation: Relation): boolean {
  return relation.columns.some((column) => column.virtual === true);
}

/**
 * The primary key where it suffices, else the smallest unique index that does, else the whole row.
 *
 * @throws PgsyncError REPLICA_IDENTITY where only the whole row would do and PostgreSQL does not take it
 */
function identitySql(relation: Relation, table: Identified, columns: readonly string[]): string {
  const alter = `ALTER TABLE ${quoteQualified(table)} REPLICA IDENTITY`;
  const isPartitioned = relation.kind === "partitioned";
  const isVirtual = hasVirtualColumn(relation);
  const promisesRows = isPartitioned && relation.replicaIdentity.kind === "full" && !isVirtual;
  // A deferrable primary key is not among the unique indexes, and can be no identity.
  const hasKey = relation.uniqueIndexes.some((index) => index.primary);
  if (inPrimaryKey(relation, columns) && hasKey && !promisesRows) return `${alter} DEFAULT`;
  const [index] = isPartitioned ? [] : relation.uniqueIndexes
    .filter((candidate) =>
      candidate.allNotNull && columns.every((column) => candidate.columns.includes(column))
    )
    .toSorted((a, b) => a.columns.length - b.columns.length);
  if (index === undefined && isVirtual) throw noIdentity(relation, columns);
  return index === undefined ? `${alter} FULL` : `${alter} USING INDEX ${quoteIdentifier(index.name)}`;
}

function noIdentity(relation: Relation, columns: readonly string[]): PgsyncError {
  const table = quoteQualified(relation);
  const virtual = relation.columns.filter((column) => column.virtual === true).map(({ name }) => `"${name}"`);
  const wanted = [...new Set([...relation.primaryKey, ...columns])].map(quoteIdentifier).join(", ");
  const index = relation.kind === "partitioned"
    ? "Make the generated columns STORED."
    : `Make the generated columns STORED, or CREATE UNIQUE INDEX ON ${table} (${wanted}), all of them NOT NULL.`;
  return new PgsyncError(
    "REPLICA_IDENTITY",
    `The old values of ${
      columns.map((column) => `"${column}"`).join(", ")
    } of ${table} are needed, but with its virtual ` +
      `generated column${virtual.length > 1 ? "s" : ""} ${
        virtual.join(", ")
      } PostgreSQL would refuse to update and ` +
      "delete its rows under REPLICA IDENTITY FULL, and no unique index holds them.",
    { remedy: index },
  );
}

function reasonFor(sources: readonly ChangeSource[], columns: readonly string[]): string {
  if (columns.length === 0) {
    return "without one, PostgreSQL refuses to update and delete rows of a published table";
  }
  const places = [
    ...new Set(sources.filter((source) => source.role !== "root").map((source) => source.node.path)),
  ];
  const list = columns.map((column) => `"${column}"`).join(", ");
  return places.length === 0
    ? `the old value of ${list} tells which document a deleted or renamed row had`
    : `the old value of ${list} tells which document a row of ${
      places.join(", ")
    } belonged to before it was deleted or moved`;
}
