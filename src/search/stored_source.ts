import { z } from "zod";
import type { SearchClient } from "./client.ts";

const indicesSchema = z.record(
  z.string(),
  z.object({
    mappings: z.object({
      _source: z.object({
        enabled: z.boolean().optional(),
        includes: z.array(z.string()).optional(),
        excludes: z.array(z.string()).optional(),
        mode: z.string().optional(),
      }).optional(),
    }),
    settings: z.object({
      index: z.object({
        mapping: z.object({ source: z.object({ mode: z.string().optional() }).optional() }).optional(),
      }),
    }),
  }),
);

/**
 * Whether an index keeps its documents as they were sent: `_source` is neither switched off, nor cut, nor made up of the
 * fields again (synthetic).
 *
 * @throws PgsyncError of the search engine; INDEX_MISSING
 */
export async function storesSource(
  client: SearchClient,
  generation: string,
  signal?: AbortSignal,
): Promise<boolean> {
  const response = await client.request({
    method: "GET",
    path: `/${encodeURIComponent(generation)}`,
    doing: `describe the index "${generation}"`,
    signal,
  });
  return Object.values(response.read(indicesSchema)).every(({ mappings, settings }) => {
    const { enabled = true, includes = [], excludes = [], mode } = mappings._source ?? {};
    const stored = mode ?? settings.index.mapping?.source?.mode ?? "stored";
    return enabled && includes.length === 0 && excludes.length === 0 && stored.toLowerCase() === "stored";
  });
}
