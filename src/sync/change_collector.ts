import { PgsyncError } from "../errors/error.ts";
import type { ChangeSource } from "../mapping/change_sources.ts";
import type { Relation, RowChange, Truncate } from "../replication/pgoutput_types.ts";
import type { Tuple } from "../replication/tuple.ts";
import type { ChangeBatch } from "./change_batch.ts";

/** A change source with the places of its columns in the tuples of a relation. */
interface Probe {
  readonly source: ChangeSource;
  readonly linkAt: readonly number[];
  /** An UPDATE that leaves these as they are changes nothing; null where some are not in the stream. */
  readonly usedAt: readonly number[] | null;
  /** Old rows carry every link column. */
  readonly oldKnown: boolean;
}

/** Turns row changes into the link values that lead to documents. */
export class ChangeCollector {
  readonly #byTable = new Map<number, ChangeSource[]>();
  readonly #probes = new WeakMap<Relation, readonly Probe[]>();

  /** @param sources the change sources of all documents that the stream serves */
  constructor(sources: readonly ChangeSource[]) {
    for (const source of sources) {
      const list = this.#byTable.get(source.relation.oid) ?? [];
      list.push(source);
      this.#byTable.set(source.relation.oid, list);
    }
  }

  /**
   * Marks what a row change touches.
   *
   * @param transaction 32-bit id of the transaction that made it
   * @throws PgsyncError OLD_VALUE_MISSING, SOURCE_CHANGED
   */
  collect(change: RowChange, transaction: number, batch: ChangeBatch): void {
    for (const probe of this.#probesOf(change.relation)) {
      switch (change.kind) {
        case "insert":
          mark(probe, change.newTuple, null, transaction, batch);
          break;
        case "delete":
          if (!probe.oldKnown) throw oldValueMissing(probe, change.relation);
          markOld(probe, change.oldTuple, change.relation, transaction, batch);
          break;
        case "update":
          collectUpdate(probe, change.relation, change.oldTuple, change.newTuple, transaction, batch);
          break;
      }
    }
  }

  /** Marks what a TRUNCATE touches: all roots of every document in which one of the tables has a place. */
  truncated(change: Truncate, transaction: number, batch: ChangeBatch): void {
    for (const relation of change.relations) {
      for (const source of this.#byTable.get(relation.relationId) ?? []) {
        batch.addAll(source.document, transaction);
      }
    }
  }

  #probesOf(relation: Relation): readonly Probe[] {
    let probes = this.#probes.get(relation);
    if (probes === undefined) {
      const sources = this.#byTable.get(relation.relationId) ?? [];
      probes = sources.map((source) => probeFor(source, relation));
      this.#probes.set(relation, probes);
    }
    return probes;
  }
}

function probeFor(source: ChangeSource, relation: Relation): Probe {
  const places = new Map(relation.columns.map((column, index) => [column.name, index]));
  const catalogColumns = new Map(source.relation.columns.map((column) => [column.name, column]));
  const linkAt = source.linkColumns.map((column) => {
    const place = places.get(column.name);
    if (place === undefined) throw columnGone(source, relation, column.name);
    return place;
  });
  const usedAt: number[] = [];
  let comparable = true;
  for (const name of source.usedColumns) {
    const place = places.get(name);
    if (place !== undefined) {
      usedAt.push(place);
      continue;
    }
    // Generated columns (before PostgreSQL 18) and system columns are not in the stream, yet an UPDATE may change them.
    const column = catalogColumns.get(name);
    if (column !== undefined && !column.generated) throw columnGone(source, relation, name);
    comparable = false;
  }
  return {
    source,
    linkAt,
    usedAt: comparable ? usedAt : null,
    oldKnown: linkAt.every((place) => relation.columns[place]?.isKey === true),
  };
}

function collectUpdate(
  probe: Probe,
  relation: Relation,
  oldTuple: Tuple | null,
  newTuple: Tuple,
  transaction: number,
  batch: ChangeBatch,
): void {
  if (!probe.oldKnown) throw oldValueMissing(probe, relation);
  if (oldTuple === null) {
    // A whole row comes with every UPDATE, unless a partition lacks the identity that its root promises.
    if (relation.replicaIdentity === "full") throw oldValueMissing(probe, relation);
    // No old row means that no column of the replica identity changed, and the link columns are among them.
    mark(probe, newTuple, null, transaction, batch);
    return;
  }
  if (probe.usedAt?.every((place) => newTuple.hasSameValue(place, oldTuple)) === true) return;
  markOld(probe, oldTuple, relation, transaction, batch);
  if (!probe.linkAt.every((place) => newTuple.hasSameValue(place, oldTuple))) {
    mark(probe, newTuple, oldTuple, transaction, batch);
  }
}

/**
 * Marks an old row.
 *
 * The server describes a partition's rows by the identity of the root. A partition that was made later has the default
 * identity, so all its old values but the key arrive as NULL, though the stream promises whole rows. That is certain
 * where a column is never NULL; where all may be, every root is read again: what cannot be known must not be lost.
 */
function markOld(
  probe: Probe,
  oldTuple: Tuple,
  relation: Relation,
  transaction: number,
  batch: ChangeBatch,
): void {
  const { source } = probe;
  if (relation.replicaIdentity === "full" && source.relation.kind === "partitioned") {
    const { columns, primaryKey } = source.relation;
    const beside = columns.filter((column) => !column.generated && !primaryKey.includes(column.name));
    const places = new Map(relation.columns.map((column, index) => [column.name, index]));
    const bare = beside.length > 0 && beside.every((column) => {
      const place = places.get(column.name);
      return place === undefined || oldTuple.isNull(place);
    });
    if (bare && beside.some((column) => column.notNull)) throw oldValueMissing(probe, relation);
    if (bare && probe.linkAt.some((place) => oldTuple.isNull(place))) {
      batch.addAll(source.document, transaction);
      return;
    }
  }
  mark(probe, oldTuple, null, transaction, batch);
}

/** @param fallback where to find a value that is too long to be sent again with the new row */
function mark(
  probe: Probe,
  tuple: Tuple,
  fallback: Tuple | null,
  transaction: number,
  batch: ChangeBatch,
): void {
  const values: string[] = [];
  for (const [index, place] of probe.linkAt.entries()) {
    const value = tuple.text(place) ?? (tuple.isUnchanged(place) ? fallback?.text(place) : null);
    // A link with a NULL in it leads nowhere.
    if (value === null) return;
    if (value === undefined) {
      const column = probe.source.linkColumns[index]?.name ?? "";
      throw new PgsyncError(
        "OLD_VALUE_MISSING",
        `A change of ${tableName(probe.source)} arrived without the value of its link column "${column}".`,
      );
    }
    values.push(value);
  }
  batch.add(probe.source, values, transaction);
}

function oldValueMissing(probe: Probe, relation: Relation): PgsyncError {
  const names = probe.linkAt.map((place) => relation.columns[place]).filter((column) => column !== undefined);
  // With a partition behind its root's identity, the stream calls all of them known.
  const unknown = names.filter((column) => !column.isKey);
  const lacking = (unknown.length > 0 ? unknown : names).map((column) => `"${column.name}"`);
  const partition = unknown.length > 0 ? "" : " of the partition it lies in";
  return new PgsyncError(
    "OLD_VALUE_MISSING",
    `A row of ${
      tableName(probe.source)
    } was changed or deleted, but its replica identity${partition} (${relation.replicaIdentity}) ` +
      `does not carry the old value of ${
        lacking.join(", ")
      }, so the document it belonged to cannot be found.`,
  );
}

function columnGone(source: ChangeSource, relation: Relation, column: string): PgsyncError {
  return new PgsyncError(
    "SOURCE_CHANGED",
    `Column "${column}" of "${relation.schema}"."${relation.table}" is gone, but node ${source.node.path} of index ` +
      `"${source.document.schema.index}" needs it.`,
  );
}

function tableName(source: ChangeSource): string {
  return `"${source.relation.schema}"."${source.relation.table}"`;
}
