import type { Relation } from "../catalog/types.ts";
import { quoteIdentifier, quoteQualified } from "../postgres/quote.ts";
import { isView, type MappedDocument } from "./tree.ts";

/** Link columns that are looked up by value, but have no index to look them up in. */
export interface IndexNeed {
  readonly relation: Relation;
  readonly columns: readonly string[];
  /** Why, in one sentence. */
  readonly reason: string;
  /** `CREATE INDEX CONCURRENTLY …`, or `CREATE INDEX …` for a partitioned table, which cannot do it concurrently. */
  readonly sql: string;
}

/** All look-ups of a document, downward to build it and upward to find it, that have no index. */
export function missingIndexes(document: MappedDocument): IndexNeed[] {
  const needs = new Map<string, IndexNeed>();
  const look = (relation: Relation, columns: readonly string[], reason: string) => {
    // A view has no indexes; those of its tables serve it, as far as it lets them.
    if (relation.kind === "view" || hasIndex(relation, columns)) return;
    const concurrently = relation.kind === "partitioned" ? "" : " CONCURRENTLY";
    const list = columns.map(quoteIdentifier).join(", ");
    const sql = `CREATE INDEX${concurrently} ON ${quoteQualified(relation)} (${list})`;
    if (!needs.has(sql)) needs.set(sql, { relation, columns, reason, sql });
  };
  for (const node of document.nodes) {
    const { link, parent } = node;
    if (link === null || parent === null) continue;
    const down = `each document looks up its ${node.path} there`;
    const up = `a change in ${node.path} looks up its documents there`;
    if (link.kind === "direct") {
      look(node.relation, link.pairs.map((pair) => pair.child), down);
      look(parent.relation, link.pairs.map((pair) => pair.parent), up);
    } else {
      look(link.table, link.toParent.map((pair) => pair.link), down);
      look(link.table, link.toChild.map((pair) => pair.link), up);
      look(node.relation, link.toChild.map((pair) => pair.child), down);
      look(parent.relation, link.toParent.map((pair) => pair.parent), up);
    }
  }
  return [...needs.values()];
}

/** An index serves when one of the columns leads it: the others are then checked on few rows. */
function hasIndex(relation: Relation, columns: readonly string[]): boolean {
  // The key of a view is what the schema file says, and has no index by itself.
  const keys = isView(relation) ? [] : [relation.primaryKey];
  const leading = [...keys, ...relation.indexes.map((index) => index.columns)].map(([first]) => first);
  return leading.some((first) => first !== undefined && columns.includes(first));
}
