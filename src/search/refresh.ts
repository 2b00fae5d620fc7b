import type { JsonObject } from "../schema/tree.ts";
import type { SearchClient } from "./client.ts";
import { indexLevel } from "./index.ts";

/** Turns refreshing off, as the initial load does. @throws PgsyncError of the search engine */
export async function pauseRefresh(
  client: SearchClient,
  generation: string,
  signal?: AbortSignal,
): Promise<void> {
  await setRefreshInterval(client, generation, "-1", signal);
}

/**
 * Sets the refresh interval that the schema file asks for, or the engine's default.
 *
 * @param settings settings of the schema file, with or without the level `index`
 * @throws PgsyncError of the search engine
 */
export async function restoreRefresh(
  client: SearchClient,
  generation: string,
  settings: JsonObject | null,
  signal?: AbortSignal,
): Promise<void> {
  const wanted = indexLevel(settings).refresh_interval;
  await setRefreshInterval(client, generation, wanted === undefined ? null : String(wanted), signal);
}

/** Sets the refresh interval (`30s`, `-1` for never); null means the engine's default. @throws PgsyncError of the search engine */
async function setRefreshInterval(
  client: SearchClient,
  generation: string,
  interval: string | null,
  signal?: AbortSignal,
): Promise<void> {
  const response = await client.request({
    method: "PUT",
    path: `/${encodeURIComponent(generation)}/_settings`,
    body: { index: { refresh_interval: interval } },
    doing: `change the refresh interval of "${generation}"`,
    signal,
  });
  response.expectOk();
}

/** Makes all that was written visible to searches. @throws PgsyncError of the search engine */
export async function refresh(client: SearchClient, index: string, signal?: AbortSignal): Promise<void> {
  const response = await client.request({
    method: "POST",
    path: `/${encodeURIComponent(index)}/_refresh`,
    doing: `refresh "${index}"`,
    signal,
  });
  response.expectOk();
}
