import { PgsyncError } from "../errors/error.ts";
import { type StatusJson, statusJson } from "../server/status_json.ts";
import type { Flags } from "./flags.ts";
import { listenSetting, localUrl } from "./listen_address.ts";
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
    if (!URL.canParse(url.value) || !/^https?:/i.test(url.value)) {
      throw new PgsyncError("USAGE", `${url.where} must be an http(s) URL, but is "${url.value}".`);
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

/**
 * Asks the running process.
 *
 * @returns the answer, as text and read
 * @throws PgsyncError STATUS_UNREACHABLE
 */
export async function askStatus(url: string): Promise<{ text: string; status: StatusJson }> {
  const unreachable = (what: string, cause?: unknown) =>
    new PgsyncError("STATUS_UNREACHABLE", `No running pgsync answers at ${url}: ${what}.`, { cause });
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${url}/status`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    text = await response.text();
  } catch (thrown) {
    const late = thrown instanceof Error && thrown.name === "TimeoutError";
    throw unreachable(late ? `nothing came within ${TIMEOUT_MS / 1000} s` : "the connection failed", thrown);
  }
  if (!response.ok) throw unreachable(`the answer was HTTP ${response.status}`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (thrown) {
    throw unreachable("the answer is not that of pgsync", thrown);
  }
  const parsed = statusJson.safeParse(json);
  if (!parsed.success) throw unreachable("the answer is not that of this version of pgsync", parsed.error);
  return { text, status: parsed.data };
}
