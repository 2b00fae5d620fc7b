import { readFileSync } from "node:fs";
import { PgsyncError } from "../errors/error.ts";
import { given } from "./values.ts";
import type { Environment } from "./variables.ts";

/** What an `Authorization` header can hold; a shorter one could be found by trying. */
const TOKEN = /^[\x21-\x7e]{16,1024}$/;

/**
 * The token that the status server demands, and that those who ask it show. There is no option for it: the command line of a process
 * is for all to see.
 *
 * @returns null where none is configured
 * @throws PgsyncError USAGE, without the token
 */
export function tokenSetting(environment: Environment): string | null {
  const token = given(environment, "PGSYNC_TOKEN");
  const file = given(environment, "PGSYNC_TOKEN_FILE");
  if (token !== null && file !== null) {
    throw new PgsyncError("USAGE", "PGSYNC_TOKEN and PGSYNC_TOKEN_FILE are both set.", {
      remedy: "Unset one of them.",
    });
  }
  const found = file === null ? token : { where: file.where, value: fileText(file.value) };
  if (found === null) return null;
  if (TOKEN.test(found.value)) return found.value;
  throw new PgsyncError(
    "USAGE",
    `${found.where} must hold 16 to 1024 visible ASCII characters, without blanks.`,
    {
      remedy: "Make one: openssl rand -hex 32",
    },
  );
}

/** The text of a file, without the line break at its end. */
function fileText(path: string): string {
  try {
    return readFileSync(path, "utf8").replace(/\r?\n$/, "");
  } catch (cause) {
    throw new PgsyncError("USAGE", `PGSYNC_TOKEN_FILE cannot be read: ${path}.`, {
      remedy: "Correct the path, or the file's rights.",
      cause,
    });
  }
}
