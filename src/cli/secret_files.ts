import { PgsyncError } from "../errors/error.ts";
import { MOST_SMALL_FILE_BYTES, readSmallFile, TooLarge } from "./small_file.ts";
import type { Environment, UsedVariable } from "./variables.ts";

/**
 * The variables that may hold a secret. Each may be given as a file instead, which the same name with `_FILE` behind names: what the
 * containers' platforms call secrets are files, and the environment of a process is inherited by all that it starts.
 */
export const SECRET_VARIABLES = [
  "SCHEMA_URL",
  "PG_URL",
  "PG_PASSWORD",
  "PG_URL_RO",
  "PG_PASSWORD_RO",
  "ELASTICSEARCH_URL",
  "ELASTICSEARCH_PASSWORD",
  "ELASTICSEARCH_API_KEY",
  "ELASTICSEARCH_BASIC_AUTH",
  "ELASTICSEARCH_HTTP_AUTH",
  "ELASTICSEARCH_BEARER_AUTH",
  "PGSYNC_TOKEN",
] as const satisfies readonly UsedVariable[];

/**
 * Puts the content of files into the place of the variables that name them.
 *
 * @returns the variables without those that name files
 * @throws PgsyncError USAGE where both are set, or a file cannot be read or holds nothing; without its content
 */
export function withSecretFiles(environment: Environment): Environment {
  const filled: Record<string, string | undefined> = { ...environment };
  for (const name of SECRET_VARIABLES) {
    const file = `${name}_FILE`;
    const path = environment[file];
    if (path === undefined || path === "") continue;
    const value = environment[name];
    if (value !== undefined && value !== "") {
      throw new PgsyncError("USAGE", `${name} and ${file} are both set.`, { remedy: "Unset one of them." });
    }
    const text = secretIn(path, file);
    if (text === "") throw new PgsyncError("USAGE", `${file} names a file that holds nothing: ${path}.`);
    filled[name] = text;
    delete filled[file];
  }
  return filled;
}

/** The text of a file, without the line break at its end. */
function secretIn(path: string, variable: string): string {
  try {
    return readSmallFile(path).replace(/\r?\n$/, "");
  } catch (cause) {
    const why = cause instanceof TooLarge
      ? `is larger than ${MOST_SMALL_FILE_BYTES} bytes`
      : "cannot be read";
    throw new PgsyncError("USAGE", `The file that ${variable} names ${why}: ${path}.`, {
      remedy: "Correct the path, or the file's rights.",
      cause,
    });
  }
}
