import type { DatabaseSync } from "node:sqlite";
import { integer, text } from "./row.ts";
import type { Identity } from "./types.ts";

/** What of `expected` the stored identity contradicts, in words for the operator; empty when nothing. */
export function identityDifferences(found: Identity, expected: Identity): string[] {
  const differences: string[] = [];
  const compare = (what: string, was: string, is: string) => {
    if (was !== is) differences.push(`${what} ${was}, now ${is}`);
  };
  compare(
    "it was written for the server with system identifier",
    found.systemIdentifier,
    expected.systemIdentifier,
  );
  compare("for database", found.database, expected.database);
  compare("for slot", found.slot, expected.slot);
  if (expected.timeline < found.timeline) {
    differences.push(`for timeline ${found.timeline}, but the server is still on ${expected.timeline}`);
  }
  return differences;
}

/** To whom the file belongs; null where nobody has adopted it. */
export function readIdentity(database: DatabaseSync): Identity | null {
  const row = database.prepare("SELECT * FROM identity").get();
  if (row === undefined) return null;
  return {
    systemIdentifier: text(row, "system_identifier"),
    timeline: integer(row, "timeline"),
    database: text(row, "database"),
    slot: text(row, "slot"),
  };
}

/** Makes the file belong to somebody. */
export function writeIdentity(database: DatabaseSync, identity: Identity): void {
  database.prepare(
    "INSERT OR REPLACE INTO identity (one, system_identifier, timeline, database, slot) VALUES (1, ?, ?, ?, ?)",
  ).run(identity.systemIdentifier, identity.timeline, identity.database, identity.slot);
}
