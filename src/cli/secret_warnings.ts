import type { SearchOptions } from "../search/options.ts";
import { isLoopback } from "./loopback.ts";

/** The option of a command that takes a URL, with a secret in it: whoever lists the processes of the machine sees it. */
export function secretArguments(flags: { readonly schemaUrl?: string | undefined }): string[] {
  const { schemaUrl } = flags;
  if (schemaUrl === undefined || !URL.canParse(schemaUrl)) return [];
  const { username, password, search } = new URL(schemaUrl);
  if (username === "" && password === "" && search === "") return [];
  return [
    "--schema-url holds a login or a query: all users of this machine can read the command line of a process. " +
    "Set SCHEMA_URL or SCHEMA_URL_FILE instead",
  ];
}

/** What a network between us and the search engine could read or forge. */
export function searchWarnings({ urls, login, verifyCertificates, caFingerprint }: SearchOptions): string[] {
  const remote = urls.map((url) => new URL(url)).filter(({ hostname }) => !isLoopback(hostname));
  const plain = remote.find(({ protocol }) => protocol === "http:");
  const warnings: string[] = [];
  if (plain !== undefined && login.kind !== "none") {
    warnings.push(`The login to the search engine goes to ${plain.origin} without encryption: use https`);
  }
  if (!verifyCertificates && caFingerprint === null && remote.some(({ protocol }) => protocol === "https:")) {
    warnings.push(
      "The search engine's certificate is not checked (ELASTICSEARCH_VERIFY_CERTS): anybody on the way can take its place",
    );
  }
  return warnings;
}
