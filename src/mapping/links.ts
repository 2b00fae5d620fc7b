import type { Catalog, Relation } from "../catalog/types.ts";
import type { NodeSchema } from "../schema/tree.ts";
import { type DirectLink, resolveDeclared, resolveDiscovered } from "./direct_link.ts";
import { resolveThrough, type ThroughLink } from "./through_link.ts";

/** How a node is joined to its parent. */
export type Link = DirectLink | ThroughLink;

/**
 * Finds how a node is joined to its parent: by `relationship.foreign_key`, through the link table, or by the one
 * foreign key between the two tables. In a table that refers to itself the children are the rows that refer to
 * the parent.
 *
 * @param node the child's node
 * @param catalog holds the link table, where there is one
 * @throws {PgsyncError} FOREIGN_KEY_MISSING, FOREIGN_KEY_AMBIGUOUS, COLUMN_MISSING, TABLE_MISSING (the link table),
 *   SCHEMA_INVALID where the paired columns cannot be compared
 */
export function resolveLink(parent: Relation, child: Relation, node: NodeSchema, catalog: Catalog): Link {
  const relationship = node.relationship;
  const through = relationship?.throughTables[0];
  if (through !== undefined) return resolveThrough(parent, child, through, node, catalog);
  // PGSync accepts foreign_key beside through_tables and takes no notice of it, so it counts here only.
  const declared = relationship?.foreignKey ?? null;
  if (declared !== null) return resolveDeclared(parent, child, declared, node);
  return resolveDiscovered(parent, child, node);
}
