/** How a table is divided into partitions, where it is. */
import { chance, pick, type Random } from "../support/random.ts";
import type { ColumnDraft, PartitionDraft, TableDraft } from "./world_drafts.ts";

const RANGES = new Set(["int", "bigint", "smallint", "date", "numeric"]);
/** A list cannot hold a value in two partitions, as 1.0 and 1.00 would be. */
const NO_LISTS = new Set(["numeric", "char"]);

/** Divides some tables by a column that all their keys share; null for the others. */
export function choosePartitions(random: Random, table: TableDraft): PartitionDraft | null {
  if (!chance(random, 25)) return null;
  const keys = [...(table.primaryKey.length > 0 ? [table.primaryKey] : []), ...table.uniques];
  const columns = table.columns.filter((column) =>
    column.keyType !== null && keys.every((key) => key.includes(column))
  );
  if (columns.length === 0) return null;
  const column = pick(random, columns);
  const kind = column.keyType?.kind ?? "";
  const strategies = [
    "hash" as const,
    ...(RANGES.has(kind) ? ["range" as const] : []),
    ...(NO_LISTS.has(kind) ? [] : ["list" as const]),
  ];
  const strategy = pick(random, strategies);
  // PostgreSQL wants a partition's generated columns written as the table's; its plain ones may stand anywhere.
  const attached = chance(random, 40) && table.columns.every((candidate) => candidate.generated === null);
  return {
    ...{ strategy, column, bounds: bounds(random, strategy, column), attached },
    subdivided: chance(random, 20),
  };
}

/** Partitions for every value, and for NULL where it may occur. */
function bounds(random: Random, strategy: PartitionDraft["strategy"], column: ColumnDraft): string[] {
  const values = column.domain.filter((value) => value !== "NULL");
  const [first, ...rest] = values;
  switch (strategy) {
    case "hash":
      return [0, 1, 2].map((remainder) => `FOR VALUES WITH (MODULUS 3, REMAINDER ${remainder})`);
    case "range": {
      const upper = !column.notNull || chance(random, 50)
        ? "DEFAULT"
        : `FOR VALUES FROM (${first}) TO (MAXVALUE)`;
      return [`FOR VALUES FROM (MINVALUE) TO (${first})`, upper];
    }
    case "list": {
      const middle = Math.ceil(rest.length / 2);
      const near = [first, ...rest.slice(0, middle)];
      const far = rest.slice(middle);
      const all = column.notNull && far.length > 0 && chance(random, 40);
      return [`FOR VALUES IN (${near.join(", ")})`, all ? `FOR VALUES IN (${far.join(", ")})` : "DEFAULT"];
    }
  }
}
