/** The rows of the catalog statements (queries.ts) as they must come from the server. */
import { z } from "zod";

const names = z.array(z.string());
const oid = z.number().int().nonnegative();
const identity = z.enum(["d", "f", "n", "i"]);

export const serverRow = z.object({
  versionNumber: z.number().int(),
  version: z.string(),
  database: z.string(),
  role: z.string(),
  isSuperuser: z.boolean(),
  canReplicate: z.boolean(),
  canCreate: z.boolean(),
  walLevel: z.string(),
  maxReplicationSlots: z.number().int(),
  usedReplicationSlots: z.number().int(),
  maxWalSenders: z.number().int(),
  usedWalSenders: z.number().int(),
  inRecovery: z.boolean(),
  encoding: z.string(),
  blockSize: z.number().int(),
  denied: names,
});

export const identityRow = z.object({ systemIdentifier: z.string(), timeline: z.number().int() });

export const nameRow = z.object({ schema: z.string(), table: z.string() });

export const relationRow = z.object({
  oid,
  schema: z.string(),
  table: z.string(),
  kind: z.enum(["r", "p", "v", "m", "f"]),
  replicaIdentity: identity,
  owner: z.string(),
  isOwner: z.boolean(),
  hasInheritors: z.boolean(),
  canSelect: z.boolean(),
});

export const heapRow = z.object({
  /** The oid of the relation that was named. */
  relation: oid,
  oid,
  schema: z.string(),
  table: z.string(),
  filenode: z.number().int(),
  pages: z.number().int(),
  estimatedRows: z.number(),
  replicaIdentity: identity,
  tidRange: z.boolean(),
});

export const columnRow = z.object({
  relation: oid,
  name: z.string(),
  number: z.number().int(),
  type: oid,
  notNull: z.boolean(),
  generated: z.boolean(),
  virtual: z.boolean(),
  deterministic: z.boolean(),
  collation: z.string().nullable(),
});

export const typeRow = z.object({
  oid,
  name: z.string(),
  builtIn: z.boolean(),
  sql: z.string(),
  kind: z.enum(["b", "c", "d", "e", "p", "r", "m"]),
  /** 0 where it is no domain. */
  base: oid,
  /** 0 where it is no array. */
  element: oid,
  /** 0 where it is no range or multirange. */
  subtype: oid,
  attributes: z.array(z.object({ name: z.string(), type: oid, deterministic: z.boolean() })),
  equals: z.string().nullable(),
});

export const indexRow = z.object({
  relation: oid,
  name: z.string(),
  unique: z.boolean(),
  primary: z.boolean(),
  immediate: z.boolean(),
  replicaIdentity: z.boolean(),
  partial: z.boolean(),
  /** Its access method finds a row by equality. */
  servesEquality: z.boolean(),
  /** Null stands for an expression. */
  columns: z.array(z.string().nullable()),
});

export const foreignKeyRow = z.object({
  relation: oid,
  name: z.string(),
  targetSchema: z.string(),
  targetTable: z.string(),
  columns: names,
  targetColumns: names,
});

export type RelationRow = z.infer<typeof relationRow>;
export type HeapRow = z.infer<typeof heapRow>;
export type ColumnRow = z.infer<typeof columnRow>;
export type TypeRow = z.infer<typeof typeRow>;
export type IndexRow = z.infer<typeof indexRow>;
export type ForeignKeyRow = z.infer<typeof foreignKeyRow>;
