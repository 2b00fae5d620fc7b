import { parseEnv } from "node:util";
import { PgsyncError } from "../errors/error.ts";
import { MOST_SMALL_FILE_BYTES, readSmallFile, TooLarge } from "./small_file.ts";
import { type Environment, isKnownVariable } from "./variables.ts";

/** What reading the `.env` file came to. */
export interface MergedEnvironment {
  readonly environment: Environment;
  /** The file, and the variables taken from it; null where none was read. */
  readonly file: { readonly path: string; readonly taken: readonly string[] } | null;
}

/**
 * Adds the variables of a `.env` file to the real ones, which win. Only variables of this program's and PGSync's are
 * taken; the rest of the file is some other program's matter.
 *
 * @param real the process's environment
 * @param file a path that must exist; true: `.env` in the working directory, if there is one; false: none
 * @throws PgsyncError USAGE where a file that was named cannot be read, or is no file of variables by its size
 */
export function withEnvFile(real: Environment, file: string | boolean): MergedEnvironment {
  if (file === false) return { environment: real, file: null };
  const path = file === true ? ".env" : file;
  let text: string;
  try {
    text = readSmallFile(path);
  } catch (thrown) {
    const missing = thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT";
    if (missing && file === true) return { environment: real, file: null };
    const why = thrown instanceof TooLarge
      ? `is larger than ${MOST_SMALL_FILE_BYTES} bytes`
      : "cannot be read";
    throw new PgsyncError("USAGE", `The environment file ${path} ${why}.`, {
      remedy: "Correct the path given with --env-file, or use --no-env-file.",
      cause: thrown,
    });
  }
  const { environment, taken } = mergeEnvironment(real, parseEnv(text));
  return { environment, file: { path, taken } };
}

/** The merging itself: known variables that the real environment does not set. */
export function mergeEnvironment(
  real: Environment,
  fromFile: Environment,
): { environment: Environment; taken: string[] } {
  const taken = Object.keys(fromFile).filter((name) =>
    isKnownVariable(name) && fromFile[name] !== "" && (real[name] === undefined || real[name] === "")
  );
  const added = Object.fromEntries(taken.map((name) => [name, fromFile[name]]));
  return { environment: { ...real, ...added }, taken };
}
