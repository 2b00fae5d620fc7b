/** The options of a run with the schema file read: the one step that all commands but `status` share. */
import { getLogger } from "@logtape/logtape";
import { PgsyncError } from "../errors/error.ts";
import { loadSchema } from "../schema/load.ts";
import { formatPlace } from "../schema/problem.ts";
import type { SchemaFile } from "../schema/tree.ts";
import type { RunOptions } from "../sync/options.ts";
import type { Flags } from "./flags.ts";
import { runSettings, schemaSource } from "./run_settings.ts";
import type { Environment } from "./variables.ts";

const logger = getLogger(["pgsync", "cli"]);

/**
 * Checks flags and variables, reads the schema file, and logs what has no effect.
 *
 * @throws PgsyncError USAGE, SCHEMA_UNREADABLE, SCHEMA_INVALID, SCHEMA_UNSUPPORTED
 */
export async function loadRunOptions(flags: Flags, environment: Environment): Promise<RunOptions> {
  const source = schemaSource(flags, environment);
  // Before the password is asked for, all that can be wrong is looked at.
  const { options, notes, warnings } = runSettings(flags, environment);
  for (const note of notes) logger.info("{note}", { note });
  for (const warning of warnings) logger.warn("{warning}", { warning });
  const schema = await readSchema(source, environment);
  const databases = new Set(schema.documents.map(({ database }) => database));
  if (options.slot !== null && databases.size > 1) {
    throw new PgsyncError(
      "USAGE",
      `A slot belongs to one database, but the schema file names ${databases.size}: ${
        [...databases].join(", ")
      }.`,
      { remedy: "Leave --slot (PGSYNC_SLOT) out: each database then has a slot pgsync_<database>." },
    );
  }
  if (flags.password !== true) return { schema, ...options };
  const { askPassword } = await import("./password.ts");
  const { postgres } = options;
  const password = await askPassword(`Password of ${postgres.user} on ${postgres.host}: `);
  return { schema, ...runSettings(flags, environment, password).options };
}

/** Reads the schema file and logs its warnings. @throws PgsyncError SCHEMA_* */
export async function readSchema(source: string, environment: Environment): Promise<SchemaFile> {
  const schema = await loadSchema(source, { environment });
  for (const { place, message } of schema.warnings) {
    logger.warn("{note}", { note: `${formatPlace(place)}: ${message}` });
  }
  return schema;
}
