import type { ChangeSource } from "../mapping/change_sources.ts";
import { trustsIndex } from "../mapping/replica_identity.ts";
import type { Relation, RowChange } from "../replication/pgoutput_types.ts";
import type { Tuple } from "../replication/tuple.ts";

/** A change source with the places of its columns in the tuples of a relation. */
export interface Probe {
  readonly source: ChangeSource;
  readonly linkAt: readonly number[];
  /** An UPDATE that leaves these as they are changes nothing; null where old rows do not carry them all. */
  readonly usedAt: readonly number[] | null;
  /** Old rows carry every link column. */
  readonly oldKnown: boolean;
  /** Set where a partition may lack the identity of its root. */
  readonly promise: WholeRowPromise | null;
}

/**
 * The server describes a partition's rows by the identity of the root. A partition that was made later has the default
 * identity, so all its old values but the key arrive as NULL, though the stream promises whole rows.
 */
export interface WholeRowPromise {
  /** The places of the primary key, without a change of which such a partition sends no old row at all. */
  readonly keyAt: readonly number[];
  /** The places of the columns beside the primary key; null for one that the stream leaves out. */
  readonly besideAt: readonly (number | null)[];
  /** The places of columns that are never NULL: where one is, the promise is certainly broken. */
  readonly neverNullAt: readonly number[];
}

/**
 * Finds the places of a source's columns; null where a link column is not there. The stream describes a table as it was when the change
 * was made: columns may have had other names or types then, or have got them since the catalog was read.
 */
export function probeFor(source: ChangeSource, relation: Relation): Probe | null {
  const places = new Map(relation.columns.map((column, index) => [column.name, index]));
  const linkNames = source.linkColumns.map((column) => column.name);
  const linkAt = source.linkColumns.map((column) => {
    const place = places.get(column.name);
    // A value of another type would not fit the statement that looks it up.
    return place !== undefined && relation.columns[place]?.typeOid === column.type.oid ? place : undefined;
  }).filter((place) => place !== undefined);
  if (linkAt.length < source.linkColumns.length) return null;
  const usedAt: number[] = [];
  let comparable = true;
  const carried = (place: number) =>
    relation.replicaIdentity === "full" || relation.columns[place]?.isKey === true;
  for (const name of source.usedColumns) {
    const place = places.get(name);
    // Generated columns (before PostgreSQL 18) and system columns are not in the stream, yet an UPDATE may change them.
    // An old row that holds its identity only shows NULL outside of it.
    if (place === undefined || !carried(place)) comparable = false;
    else usedAt.push(place);
  }
  return {
    source,
    linkAt,
    usedAt: comparable ? usedAt : null,
    oldKnown: linkAt.every((place) => relation.columns[place]?.isKey === true) &&
      (relation.replicaIdentity !== "index" || trustsIndex(source.relation, linkNames)),
    promise: promiseOf(source, relation, places),
  };
}

/** Whether an UPDATE left every column that matters as it was. */
export function isUnused(probe: Probe, oldTuple: Tuple, newTuple: Tuple): boolean {
  return probe.usedAt?.every((place) => newTuple.hasSameValue(place, oldTuple)) === true;
}

/** Whether a change of a row that may touch any document certainly touches none. */
export function isWithoutEffect(probe: Probe, change: RowChange): boolean {
  if (change.kind !== "update" || change.oldTuple === null) return false;
  // An old row may come from a partition that lacks the identity of its root.
  return probe.promise === null && isUnused(probe, change.oldTuple, change.newTuple);
}

/** Whether the stream describes a table as the catalog did; generated columns are in the stream since PostgreSQL 18 only. */
export function isStrange(source: ChangeSource, relation: Relation): boolean {
  const sent = new Map(relation.columns.map((column) => [column.name, column.typeOid]));
  const { columns, replicaIdentity } = source.relation;
  const known = new Set(columns.map((column) => column.name));
  return replicaIdentity.kind !== relation.replicaIdentity ||
    columns.some((column) => !column.generated && sent.get(column.name) !== column.type.oid) ||
    relation.columns.some((column) => !known.has(column.name));
}

function promiseOf(
  source: ChangeSource,
  relation: Relation,
  places: ReadonlyMap<string, number>,
): WholeRowPromise | null {
  const { kind, columns, primaryKey } = source.relation;
  if (relation.replicaIdentity !== "full" || kind !== "partitioned") return null;
  const beside = columns.filter((column) => !column.generated && !primaryKey.includes(column.name));
  return {
    keyAt: primaryKey.map((name) => places.get(name)).filter((place) => place !== undefined),
    besideAt: beside.map((column) => places.get(column.name) ?? null),
    neverNullAt: columns.filter((column) => column.notNull && !column.generated)
      .map((column) => places.get(column.name)).filter((place) => place !== undefined),
  };
}

/** Whether an old row may hold its key only. */
export function isBare({ besideAt }: WholeRowPromise, oldTuple: Tuple): boolean {
  return besideAt.length > 0 && besideAt.every((place) => place === null || oldTuple.isNull(place));
}
