/** The large changes: each one transaction, and how many documents have to be written for it. */
import type { Size } from "./shop.ts";

/** A large change. */
export interface Workload {
  readonly name: string;
  readonly description: string;
  /** Statements of one transaction. */
  readonly statements: (size: Size) => readonly string[];
  /** Documents that are built again, each counted once. */
  readonly documents: (size: Size) => number;
}

/** Documents that all rows of one workload touch. */
const FEW = 10;

/** In this order: the later ones change what the earlier ones need. */
export const WORKLOADS: readonly Workload[] = [
  {
    name: "update",
    description: "each row of a child table updated; each touches a document of its own",
    statements: () => ["UPDATE part SET name = id || ' updated ' || now()"],
    documents: ({ rows }) => rows,
  },
  {
    name: "deep",
    description: "each row of a grandchild table updated; the root is looked up by a join",
    statements: () => ["UPDATE note SET body = id || ' updated ' || now()"],
    documents: ({ rows }) => rows,
  },
  {
    name: "insert",
    description: "as many rows inserted as the child table has",
    statements: ({ rows }) => [
      `INSERT INTO part SELECT id + ${rows}, id, 'second part of ' || id FROM generate_series(1, ${rows}) AS id`,
    ],
    documents: ({ rows }) => rows,
  },
  {
    name: "delete",
    description: "the same rows deleted",
    statements: ({ rows }) => [`DELETE FROM part WHERE id > ${rows}`],
    documents: ({ rows }) => rows,
  },
  {
    name: "few",
    description: `as many rows inserted that all touch the same ${FEW} documents, and deleted again`,
    statements: ({ rows }) => [
      `INSERT INTO part SELECT id + ${
        2 * rows
      }, 1 + id % ${FEW}, 'many' FROM generate_series(1, ${rows}) AS id`,
      `DELETE FROM part WHERE id > ${2 * rows}`,
    ],
    documents: () => FEW,
  },
  {
    name: "fan-out",
    description: "one row updated on which all documents depend, two tables away",
    statements: () => ["UPDATE country SET name = 'renamed ' || now() WHERE id = 1"],
    documents: ({ items }) => items,
  },
  {
    name: "reconcile",
    description:
      "TRUNCATE of a grandchild table: all documents are built again, and all ids of the index looked up",
    statements: () => ["TRUNCATE note"],
    documents: ({ items }) => items,
  },
];
