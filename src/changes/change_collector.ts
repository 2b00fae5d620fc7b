import { getLogger } from "@logtape/logtape";
import { PgsyncError } from "../errors/error.ts";
import { isLeftOut } from "../fault_points.ts";
import type { ChangeSource } from "../mapping/change_sources.ts";
import { identitySuffices } from "../mapping/replica_identity.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { Relation, RowChange, Truncate } from "../replication/pgoutput_types.ts";
import type { Tuple } from "../replication/tuple.ts";
import type { ChangeBatch } from "./change_batch.ts";
import { isBare, isStrange, isUnused, isWithoutEffect, type Probe, probeFor } from "./probe.ts";

const logger = getLogger(["pgsync", "changes"]);

/** What the change sources of a table make of one description of it. */
interface Probes {
  readonly known: readonly Probe[];
  /** Documents to which a change so described cannot be traced. */
  readonly lost: readonly MappedDocument[];
}

/** Turns row changes into the link values that lead to documents. */
export class ChangeCollector {
  readonly #byTable = new Map<number, ChangeSource[]>();
  readonly #probes = new WeakMap<Relation, Probes>();
  /** Tables of which the log has told that a partition lacks their identity. */
  readonly #told = new Set<number>();

  /**
   * @param sources the change sources of all documents that the stream serves
   * @param onStrange told when the stream describes a table otherwise than the catalog that they were made of
   */
  constructor(sources: readonly ChangeSource[], private readonly onStrange: () => void = () => {}) {
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
   * @throws PgsyncError OLD_VALUE_MISSING
   */
  collect(change: RowChange, transaction: number, batch: ChangeBatch): void {
    const { known, lost } = this.#probesOf(change.relation);
    // What cannot be known must not be missed. (A change of before the table was altered has been covered when the new
    // definition was seen; this one may be of after it.)
    for (const document of lost) batch.addAll(document, transaction);
    for (const probe of known) {
      if (probe.source.touches === "any") {
        if (!isWithoutEffect(probe, change)) batch.addAll(probe.source.document, transaction);
        continue;
      }
      switch (change.kind) {
        case "insert":
          mark(probe, change.newTuple, null, transaction, batch);
          break;
        case "delete":
          if (this.#isUnknown(probe, change.relation, transaction, batch)) break;
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
    if (this.#isUnknown(probe, relation, transaction, batch)) return;
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
   * Has every root read again where the old row lacks its link values though the identity carries them now: the change was made
   * before it did, or somebody has taken it away, which the look shows that is asked for.
   *
   * @throws PgsyncError OLD_VALUE_MISSING where the identity was known not to carry them
   */
  #isUnknown(probe: Probe, relation: Relation, transaction: number, batch: ChangeBatch): boolean {
    if (probe.oldKnown) return false;
    const { linkColumns, document, relation: described } = probe.source;
    if (!identitySuffices(described, linkColumns.map((column) => column.name))) {
      throw oldValueMissing(probe, relation);
    }
    batch.addAll(document, transaction);
    this.onStrange();
    return true;
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

  #probesOf(relation: Relation): Probes {
    const found = this.#probes.get(relation);
    if (found !== undefined) return found;
    const sources = this.#byTable.get(relation.relationId) ?? [];
    const probes = sources.map((source) => probeFor(source, relation));
    const made: Probes = {
      known: probes.filter((probe) => probe !== null),
      lost: sources.filter((_, at) => probes[at] === null).map((source) => source.document),
    };
    this.#probes.set(relation, made);
    if (sources.some((source) => isStrange(source, relation))) this.onStrange();
    return made;
  }
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

function tableName(source: ChangeSource): string {
  return `"${source.relation.schema}"."${source.relation.table}"`;
}
