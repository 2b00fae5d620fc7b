import { PgsyncError } from "../errors/error.ts";
import type { Column, Relation } from "./types.ts";

/**
 * The columns of these names, in this order.
 *
 * @throws PgsyncError COLUMN_MISSING
 */
export function columnsNamed(relation: Relation, names: readonly string[]): Column[] {
  return names.map((name) => {
    const column = relation.columns.find((candidate) => candidate.name === name);
    if (column === undefined) {
      throw new PgsyncError(
        "COLUMN_MISSING",
        `Table "${relation.schema}"."${relation.table}" has no column "${name}".`,
      );
    }
    return column;
  });
}
