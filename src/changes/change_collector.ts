import { getLogger } from "@logtape/logtape";
import { PgsyncError } from "../errors/error.ts";
import { isLeftOut } from "../fault_points.ts";
import type { ChangeSource } from "../mapping/change_sources.ts";
import { trustsIndex } from "../mapping/replica_identity.ts";
import type { Relation, RowChange, Truncate } from "../replication/pgoutput_types.ts";
import type { Tuple } from "../replication/tuple.ts";
import type { ChangeBatch } from "./change_batch.ts";

const logger = getLogger(["pgsync", "changes"]);

/** A change source with the places of its columns in the tuples of a relation. */
interface Probe {
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
interface WholeRowPromise {
  /** The places of the primary key, without a change of which such a partition sends no old row at all. */
  readonly keyAt: readonly number[];
  /** The places of the columns beside the primary key; null for one that the stream leaves out. */
  readonly besideAt: readonly (number | null)[];
  /** The places of columns that are never NULL: where one is, the promise is certainly broken. */
  readonly neverNullAt: readonly number[];
}

/** Turns row changes into the link values that lead to documents. */
export class ChangeCollector {
  readonly #byTable = new Map<number, ChangeSource[]>();
  readonly #probes = new WeakMap<Relation, readonly Probe[]>();
  /** Tables of which the log has told that a partition lacks their identity. */
  readonly #told = new Set<number>();

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
      if (probe.source.touches === "any") {
        if (!isWithoutEffect(probe, change)) batch.addAll(probe.source.document, transaction);
        continue;
      }
      switch (change.kind) {
        case "insert":
          mark(probe, change.newTuple, null, transaction, batch);
          break;
        case "delete":
          if (!probe.oldKnown) throw oldValueMissing(probe, change.relation);
          if (this.#reconcileLost(probe, change.oldTuple, true, transaction, batch)) break;
          mark(probe, change.oldTuple, null, transaction, batch);
          break;
        case "update":
          this.#collectUpdate(probe, change.relation, change.oldTuple, change.newTuple, transaction, batch);
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

  #collectUpdate(
    probe: Probe,
    relation: Relation,
    oldTuple: Tuple | null,
    newTuple: Tuple,
    transaction: number,
    batch: ChangeBatch,
  ): void {
    if (!probe.oldKnown) throw oldValueMissing(probe, relation);
    if (oldTuple === null) {
      if (relation.replicaIdentity !== "full") {
        // No column of the replica identity changed, and the link columns are among them.
        mark(probe, newTuple, null, transaction, batch);
      } else if (probe.promise !== null) {
        // A whole row comes with every UPDATE, unless a partition lacks the identity that its root promises.
        this.#reconcile(probe, true, transaction, batch);
      } else {
        throw oldValueMissing(probe, relation);
      }
      return;
    }
    const mayBeBare = probe.promise?.keyAt.some((place) => !newTuple.hasSameValue(place, oldTuple)) === true;
    if (this.#reconcileLost(probe, oldTuple, mayBeBare, transaction, batch)) return;
    if (isUnused(probe, oldTuple, newTuple)) return;
    const moved = !probe.linkAt.every((place) => newTuple.hasSameValue(place, oldTuple));
    if (!moved || !isLeftOut("old-link-lookup")) mark(probe, oldTuple, null, transaction, batch);
    if (moved) mark(probe, newTuple, oldTuple, transaction, batch);
  }

  /**
   * Has every root read again where an old row may have come without its link values: what cannot be known must not be
   * missed.
   *
   * @param mayBeBare a partition with the default identity would have sent an old row here
   * @returns whether it may
   */
  #reconcileLost(
    probe: Probe,
    oldTuple: Tuple,
    mayBeBare: boolean,
    transaction: number,
    batch: ChangeBatch,
  ): boolean {
    const { promise, linkAt } = probe;
    if (promise === null) return false;
    const certain = promise.neverNullAt.some((place) => oldTuple.isNull(place));
    const possible = mayBeBare && isBare(promise, oldTuple) && linkAt.some((place) => oldTuple.isNull(place));
    if (!certain && !possible) return false;
    this.#reconcile(probe, certain, transaction, batch);
    return true;
  }

  /** @param certain a partition is known to lack the identity of its root: the operator is told, once */
  #reconcile(probe: Probe, certain: boolean, transaction: number, batch: ChangeBatch): void {
    const { relation, document } = probe.source;
    batch.addAll(document, transaction);
    if (!certain || this.#told.has(relation.oid)) return;
    this.#told.add(relation.oid);
    logger.warn(
      "the newest partition(s) of {table} lack its replica identity, so what their rows belonged to before a change is " +
        "unknown, and each change has all documents of the table compared; run ALTER TABLE <partition> REPLICA " +
        "IDENTITY FULL; on its newest partition(s)",
      { table: tableName(probe.source) },
    );
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
  const linkNames = source.linkColumns.map((column) => column.name);
  const linkAt = linkNames.map((name) => {
    const place = places.get(name);
    if (place === undefined) throw columnGone(source, relation, name);
    return place;
  });
  const usedAt: number[] = [];
  let comparable = true;
  const carried = (place: number) =>
    relation.replicaIdentity === "full" || relation.columns[place]?.isKey === true;
  for (const name of source.usedColumns) {
    const place = places.get(name);
    if (place !== undefined) {
      usedAt.push(place);
      // An old row that holds its identity only shows NULL elsewhere.
      if (!carried(place)) comparable = false;
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
    oldKnown: linkAt.every((place) => relation.columns[place]?.isKey === true) &&
      (relation.replicaIdentity !== "index" || trustsIndex(source.relation, linkNames)),
    promise: promiseOf(source, relation, places),
  };
}

/** Whether an UPDATE left every column that matters as it was. */
function isUnused(probe: Probe, oldTuple: Tuple, newTuple: Tuple): boolean {
  return probe.usedAt?.every((place) => newTuple.hasSameValue(place, oldTuple)) === true;
}

/** Whether a change of a row that may touch any document certainly touches none. */
function isWithoutEffect(probe: Probe, change: RowChange): boolean {
  if (change.kind !== "update" || change.oldTuple === null) return false;
  // An old row may come from a partition that lacks the identity of its root.
  return probe.promise === null && isUnused(probe, change.oldTuple, change.newTuple);
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
function isBare({ besideAt }: WholeRowPromise, oldTuple: Tuple): boolean {
  return besideAt.length > 0 && besideAt.every((place) => place === null || oldTuple.isNull(place));
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
  const unknown = names.filter((column) => !column.isKey);
  const lacking = (unknown.length > 0 ? unknown : names).map((column) => `"${column.name}"`);
  const how = unknown.length === 0 && relation.replicaIdentity === "index" ? " for all its partitions" : "";
  return new PgsyncError(
    "OLD_VALUE_MISSING",
    `A row of ${
      tableName(probe.source)
    } was changed or deleted, but its replica identity (${relation.replicaIdentity}) ` +
      `does not carry the old value of ${
        lacking.join(", ")
      }${how}, so the document it belonged to cannot be found.`,
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
