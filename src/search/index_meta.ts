import { z } from "zod";

/** What an index says of itself, in `_meta.pgsync` of its mapping. */
export interface IndexMeta {
  /** Hash of what the schema file makes of the catalog. */
  readonly schemaHash: string;
  readonly database: string;
  /** PostgreSQL's system identifier, in decimal. */
  readonly systemIdentifier: string;
  /** The initial load was finished once. */
  readonly loaded: boolean;
  /** The version of this program that made the index. */
  readonly createdBy: string;
  /** What its documents look like and where they come from; null where an older version of this program made it. */
  readonly description: string | null;
}

const metaSchema = z.object({
  schema_hash: z.string(),
  database: z.string(),
  system_identifier: z.string(),
  loaded: z.boolean(),
  created_by: z.string(),
  description: z.string().nullish(),
}).transform((meta): IndexMeta => ({
  schemaHash: meta.schema_hash,
  database: meta.database,
  systemIdentifier: meta.system_identifier,
  loaded: meta.loaded,
  createdBy: meta.created_by,
  description: meta.description ?? null,
}));

/** Reads it; null where it is not ours. */
export function readMeta(pgsync: unknown): IndexMeta | null {
  const parsed = metaSchema.safeParse(pgsync);
  return parsed.success ? parsed.data : null;
}

/** As it is written. */
export function writeMeta(meta: IndexMeta): Record<string, unknown> {
  return {
    schema_hash: meta.schemaHash,
    database: meta.database,
    system_identifier: meta.systemIdentifier,
    loaded: meta.loaded,
    created_by: meta.createdBy,
    ...meta.description === null ? {} : { description: meta.description },
  };
}
