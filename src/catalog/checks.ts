import { PgsyncError } from "../errors/error.ts";
import { quoteIdentifier, quoteQualified } from "../postgres/quote.ts";
import type { QualifiedName } from "../schema/tree.ts";
import type { Catalog, ServerFacts } from "./types.ts";

/** What a run is about to need of the server, beyond what it has. */
export interface ServerNeeds {
  /** A replication slot must be made. Default true. */
  readonly slot?: boolean;
  /** A publication must be made. Default false. */
  readonly publication?: boolean;
  /** Walsenders that will be opened. Default 1. */
  readonly walSenders?: number;
}

/**
 * Judges whether the server and the role are fit for a run. Pure.
 *
 * The database's encoding is no matter: the server converts what it sends, the stream included, to the client's
 * UTF-8 (a SQL_ASCII database is not converted, and works as far as it holds UTF-8).
 *
 * @returns what is wrong, each with the SQL that mends it; empty when all is well
 */
export function checkServer(facts: ServerFacts, needs: ServerNeeds = {}): PgsyncError[] {
  const { slot = true, publication = false, walSenders = 1 } = needs;
  const problems: PgsyncError[] = [];
  const role = quoteIdentifier(facts.role);
  if (facts.versionNumber < 130000) {
    problems.push(
      new PgsyncError("POSTGRES_VERSION", `The server is PostgreSQL ${facts.version}, older than 13.`),
    );
  }
  if (facts.inRecovery) {
    problems.push(
      new PgsyncError(
        "STANDBY",
        `The server is a standby: database "${facts.database}" cannot be written there.`,
      ),
    );
  }
  if (facts.walLevel !== "logical") {
    problems.push(
      new PgsyncError("WAL_LEVEL", `wal_level is ${facts.walLevel}; streaming changes needs logical.`, {
        remedy:
          "ALTER SYSTEM SET wal_level = 'logical'; then restart PostgreSQL. (On a managed service set it in its " +
          "parameters: rds.logical_replication on Amazon, cloudsql.logical_decoding on Google.)",
      }),
    );
  }
  if (!facts.canReplicate) {
    problems.push(
      new PgsyncError("PRIVILEGE_MISSING", `Role "${facts.role}" may not replicate.`, {
        remedy: `ALTER ROLE ${role} REPLICATION; (on Amazon RDS: GRANT rds_replication TO ${role};)`,
      }),
    );
  }
  if (publication && !facts.canCreate) {
    problems.push(
      new PgsyncError(
        "PRIVILEGE_MISSING",
        `Role "${facts.role}" may not create a publication in database "${facts.database}".`,
        { remedy: `GRANT CREATE ON DATABASE ${quoteIdentifier(facts.database)} TO ${role};` },
      ),
    );
  }
  if (slot && facts.usedReplicationSlots >= facts.maxReplicationSlots) {
    problems.push(
      new PgsyncError(
        "SLOTS_EXHAUSTED",
        `All ${facts.maxReplicationSlots} replication slots are taken (max_replication_slots).`,
        {
          remedy:
            "SELECT slot_name, active FROM pg_replication_slots; shows them; drop those that nobody uses with " +
            `SELECT pg_drop_replication_slot('…'); or ALTER SYSTEM SET max_replication_slots = ${
              facts.usedReplicationSlots + 5
            }; and restart PostgreSQL.`,
        },
      ),
    );
  }
  if (facts.usedWalSenders + walSenders > facts.maxWalSenders) {
    problems.push(
      new PgsyncError(
        "SLOTS_EXHAUSTED",
        `${facts.usedWalSenders} of ${facts.maxWalSenders} walsenders are taken (max_wal_senders), and ${walSenders} ` +
          `${walSenders === 1 ? "is" : "are"} needed.`,
        {
          remedy: `ALTER SYSTEM SET max_wal_senders = ${
            facts.usedWalSenders + walSenders + 4
          }; and restart PostgreSQL.`,
        },
      ),
    );
  }
  return problems;
}

/**
 * Judges whether the named relations are there and may be read. Pure.
 *
 * @param names the relations of the schema file, those that the catalog was read for
 * @param bases tables below views: only their changes matter, for a view reads them with the rights of its owner
 * @returns what is wrong, in the order of the names, each with what to do; empty when all is well
 */
export function checkRelations(
  catalog: Catalog,
  names: readonly QualifiedName[],
  bases: readonly QualifiedName[] = [],
): PgsyncError[] {
  const problems: PgsyncError[] = [];
  const distinct = new Map([...names, ...bases].map((name) => [quoteQualified(name), name]));
  const read = new Set(names.map(quoteQualified));
  for (const [quoted, name] of distinct) {
    const relation = catalog.relation(name);
    if (relation === null) {
      const near = catalog.suggest(name).map(quoteQualified);
      problems.push(
        new PgsyncError(
          "TABLE_MISSING",
          `Table ${quoted} does not exist in database "${catalog.server.database}"` +
            (near.length === 0 ? "." : `; did you mean ${near.join(" or ")}?`),
        ),
      );
    } else if (read.has(quoted) && !relation.canSelect) {
      const role = quoteIdentifier(catalog.server.role);
      problems.push(
        new PgsyncError("PRIVILEGE_MISSING", `Role "${catalog.server.role}" may not read table ${quoted}.`, {
          remedy: `GRANT USAGE ON SCHEMA ${quoteIdentifier(name.schema)} TO ${role}; ` +
            `GRANT SELECT ON ${quoted} TO ${role};`,
        }),
      );
    } else if (relation.hasInheritors) {
      // A query of it reads the children's rows too, whose changes the stream tells of under their own names.
      problems.push(
        new PgsyncError(
          "SCHEMA_UNSUPPORTED",
          `Other tables inherit from ${quoted} (INHERITS), and this version does not follow their rows.`,
          {
            remedy: "Make it a partitioned table, or name another table in the schema file. " +
              `To see who inherits: SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = '${
                quoted.replaceAll("'", "''")
              }'::regclass;`,
          },
        ),
      );
    }
  }
  return problems;
}
