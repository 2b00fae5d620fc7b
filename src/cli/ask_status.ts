import { PgsyncError } from "../errors/error.ts";
import { type StatusJson, statusJson } from "../server/status_json.ts";
import { askRun, type RunAddress } from "./ask_run.ts";
import type { Flags } from "./flags.ts";
import { listenSetting, localUrl } from "./listen_address.ts";
import { tokenSetting } from "./token.ts";
import { given } from "./values.ts";
import type { Environment } from "./variables.ts";

const TIMEOUT_MS = 5_000;

/** Where the status server of the running process is. @throws PgsyncError USAGE */
export function statusUrl(
  flags: Flags & { readonly url?: string | undefined },
  environment: Environment,
): string {
  const url = given(environment, "PGSYNC_STATUS_URL", { name: "--url", value: flags.url });
  if (url !== null) {
    const parsed = URL.canParse(url.value) ? new URL(url.value) : null;
    if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
      throw new PgsyncError("USAGE", `${url.where} must be an http(s) URL.`);
    }
    // It stands in messages, and most often on the command line, which is for all to see.
    if (parsed.username !== "" || parsed.password !== "") {
      throw new PgsyncError("USAGE", `${url.where} must not hold a login.`, {
        remedy: "Set PGSYNC_TOKEN or PGSYNC_TOKEN_FILE as it is set for the run.",
      });
    }
    return url.value.replace(/\/+$/, "");
  }
  const { address } = listenSetting(flags, environment);
  if (address === null) {
    throw new PgsyncError(
      "USAGE",
      "The status server is switched off (--listen off), so there is nobody to ask.",
      {
        remedy: "Name the server with --url, or start the run with --listen.",
      },
    );
  }
  return localUrl(address);
}

/** The status server of the running process, and the token that it may want. @throws PgsyncError USAGE */
export function runAddress(flags: Parameters<typeof statusUrl>[0], environment: Environment): RunAddress {
  return { url: statusUrl(flags, environment), token: tokenSetting(environment) };
}

/**
 * Asks the running process how it is.
 *
 * @returns the answer, as text and read
 * @throws PgsyncError STATUS_UNREACHABLE, STATUS_LOGIN
 */
export async function askStatus(address: RunAddress): Promise<{ text: string; status: StatusJson }> {
  const { text, answer } = await askRun(address, {
    path: "/status",
    schema: statusJson,
    timeoutMs: TIMEOUT_MS,
  });
  return { text, status: answer };
}
