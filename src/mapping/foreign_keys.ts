import type { ForeignKey, Relation } from "../catalog/types.ts";
import type { QualifiedName } from "../schema/tree.ts";

/** A column of the parent and the column of the child that equals it. */
export interface LinkPair {
  readonly parent: string;
  readonly child: string;
}

/** What joins two relations: a foreign key of either, or several over the same pairs of columns. */
export interface KeyBetween {
  /** Which of the two holds it. */
  readonly keyOn: "child" | "parent";
  /** Of the constraints. */
  readonly names: readonly string[];
  readonly pairs: readonly LinkPair[];
}

/** The foreign keys between two relations in either direction, those with equal pairs once. */
export function keysBetween(parent: Relation, child: Relation): KeyBetween[] {
  const found: KeyBetween[] = keysTo(child, parent).map((key) => ({
    keyOn: "child",
    names: [key.name],
    pairs: pairsOf(key).map(({ from, to }) => ({ parent: to, child: from })),
  }));
  // Between a table and itself each key would be seen twice: its children are the rows that refer to the parent.
  if (!sameTable(parent, child)) {
    found.push(
      ...keysTo(parent, child).map((key): KeyBetween => ({
        keyOn: "parent",
        names: [key.name],
        pairs: pairsOf(key).map(({ from, to }) => ({ parent: from, child: to })),
      })),
    );
  }
  const distinct = new Map<string, KeyBetween>();
  for (const key of found) {
    const text = pairsText(key.pairs);
    const known = distinct.get(text);
    distinct.set(text, known === undefined ? key : { ...known, names: [...known.names, ...key.names] });
  }
  return [...distinct.values()];
}

/** Whether two lists hold the same pairs, in whatever order. */
export function samePairs(a: readonly LinkPair[], b: readonly LinkPair[]): boolean {
  return pairsText(a) === pairsText(b);
}

function pairsText(pairs: readonly LinkPair[]): string {
  return JSON.stringify(pairs.map((pair) => [pair.parent, pair.child]).toSorted());
}

/** The foreign keys from one relation to another, those over the same pairs of columns once. */
export function keysTo(from: Relation, to: Relation): ForeignKey[] {
  const distinct = new Map<string, ForeignKey>();
  for (const key of from.foreignKeys) {
    if (!sameTable(key.target, to)) continue;
    const text = pairsText(pairsOf(key).map(({ from, to }) => ({ parent: to, child: from })));
    if (!distinct.has(text)) distinct.set(text, key);
  }
  return [...distinct.values()];
}

/** The columns of a foreign key, each with the one that it refers to. */
export function pairsOf(key: ForeignKey): { from: string; to: string }[] {
  return key.columns.map((from, index) => ({ from, to: key.targetColumns[index] ?? from }));
}

/** Whether two names are those of one table. */
export function sameTable(a: QualifiedName, b: QualifiedName): boolean {
  return a.schema === b.schema && a.table === b.table;
}
