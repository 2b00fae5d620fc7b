import { z } from "zod";
import type { SearchClient } from "./client.ts";

const BATCH = 5_000;

const versionsSchema = z.object({
  docs: z.array(
    z.object({ _id: z.string(), found: z.boolean().optional(), _version: z.string().optional() }),
  ),
});

/**
 * Reads the versions that an index holds of some documents, past the refresh interval.
 *
 * @returns id → version; documents that are not there are left out
 * @throws PgsyncError of the search engine
 */
export async function readVersions(
  client: SearchClient,
  generation: string,
  ids: readonly string[],
  signal?: AbortSignal,
): Promise<Map<string, bigint>> {
  const versions = new Map<string, bigint>();
  for (let from = 0; from < ids.length; from += BATCH) {
    const response = await client.request({
      method: "POST",
      path: `/${encodeURIComponent(generation)}/_mget`,
      query: { _source: false, filter_path: "docs._id,docs._version,docs.found" },
      body: { ids: ids.slice(from, from + BATCH) },
      doing: `read versions of "${generation}"`,
      signal,
    });
    response.expectOk();
    const { docs } = response.withText(quoteVersions(response.text)).read(versionsSchema);
    for (const { _id, found, _version } of docs) {
      if (found === true && _version !== undefined) versions.set(_id, BigInt(_version));
    }
  }
  return versions;
}

/**
 * Puts the numbers of all `_version` keys in quotation marks, because `JSON.parse` rounds beyond 2^53.
 * Strings are matched as a whole, so that nothing inside of one is taken for a key.
 */
export function quoteVersions(json: string): string {
  return json.replace(
    /("_version"\s*:\s*)(\d+)|"(?:[^"\\]|\\.)*"/g,
    (token, key: string | undefined, digits: string | undefined) =>
      key === undefined || digits === undefined ? token : `${key}"${digits}"`,
  );
}
