import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import type { SearchClient } from "./client.ts";

/** The names in one request, written for a URL: the engine takes no line of more than 4 kB. */
const MOST_BYTES_OF_NAMES = 3_000;

/** Settings that keep documents out; the engine sets the last one where a disk is nearly full, and unsets it. */
const BLOCKS = [
  "index.blocks.write",
  "index.blocks.read_only",
  "index.blocks.read_only_allow_delete",
] as const;
/** Set when an index is closed, and not otherwise. */
const CLOSED = "index.verified_before_close";

const settingsSchema = z.record(
  z.string(),
  z.object({ settings: z.record(z.string(), z.unknown()).default({}) }),
);

/**
 * Why indices take no documents, as far as their settings tell: they are closed, blocked, or gone. It needs the privilege that finding an
 * index needs, too (`view_index_metadata`).
 *
 * @param names of the indices themselves
 * @returns by name; null where nothing speaks against it. One that could not be asked about is missing.
 * @throws PgsyncError of the search engine; the signal's reason
 */
export async function indexFaults(
  client: SearchClient,
  names: readonly string[],
  signal: AbortSignal,
  timeoutSeconds: number,
): Promise<Map<string, PgsyncError | null>> {
  const found = new Map<string, PgsyncError | null>();
  let together: string[] = [];
  let bytes = 0;
  for (const name of names) {
    const size = encodeURIComponent(name).length + 1;
    if (together.length > 0 && bytes + size > MOST_BYTES_OF_NAMES) {
      await ask(client, together, found, signal, timeoutSeconds);
      together = [];
      bytes = 0;
    }
    together.push(name);
    bytes += size;
  }
  if (together.length > 0) await ask(client, together, found, signal, timeoutSeconds);
  return found;
}

async function ask(
  client: SearchClient,
  names: readonly string[],
  found: Map<string, PgsyncError | null>,
  signal: AbortSignal,
  timeoutSeconds: number,
): Promise<void> {
  const response = await client.request({
    method: "GET",
    path: `/${names.map(encodeURIComponent).join(",")}/_settings`,
    query: { flat_settings: true },
    doing: `read the settings of "${names.join('", "')}"`,
    signal,
    timeoutSeconds,
  });
  if (response.verdict === "index-missing") {
    const [only] = names;
    if (only !== undefined && names.length === 1) {
      found.set(only, new PgsyncError("INDEX_MISSING", `The index "${only}" does not exist any more.`));
      return;
    }
    for (const name of names) await ask(client, [name], found, signal, timeoutSeconds);
    return;
  }
  // What this user may not ask, its next write will tell.
  if (response.verdict === "login") return;
  const answer = response.read(settingsSchema);
  for (const name of names) {
    const settings = answer[name]?.settings;
    if (settings !== undefined) found.set(name, faultOf(name, settings));
  }
}

function faultOf(name: string, settings: Readonly<Record<string, unknown>>): PgsyncError | null {
  const isOn = (setting: string) => String(settings[setting]) === "true";
  if (isOn(CLOSED)) {
    return new PgsyncError("SEARCH_UNAVAILABLE", `The index "${name}" is closed.`, {
      remedy: "Open it; the run goes on by itself.",
    });
  }
  const block = BLOCKS.find(isOn);
  if (block === undefined) return null;
  return new PgsyncError("SEARCH_UNAVAILABLE", `The index "${name}" is blocked by its setting ${block}.`, {
    remedy: "Lift the block, or free disk space where a full disk is the reason; the run goes on by itself.",
  });
}
