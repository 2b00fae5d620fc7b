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
  if (token === null || TOKEN.test(token.value)) return token?.value ?? null;
  throw new PgsyncError(
    "USAGE",
    "PGSYNC_TOKEN must hold 16 to 1024 visible ASCII characters, without blanks.",
    { remedy: "Make one: openssl rand -hex 32" },
  );
}
