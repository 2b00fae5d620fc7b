/** Small changes by which is seen how far a candidate is behind. */
import { setTimeout as delay } from "node:timers/promises";
import type { Dataset } from "./dataset.ts";
import type { Servers } from "../servers.ts";

const LOOK_EVERY_MS = 1;
const GIVE_UP_AFTER_MS = 60 * 60_000;

/** Commits a change and waits until a realtime GET shows it. @returns milliseconds since the commit */
export async function probeOnce(
  { sql, search }: Servers,
  { probe, schema }: Dataset,
): Promise<number> {
  const wanted = await probe.change(sql);
  const committed = performance.now();
  const [index = ""] = schema.indices;
  while (!wanted.has(await search.text(index, wanted.id, wanted.field))) {
    if (performance.now() - committed > GIVE_UP_AFTER_MS) throw new Error("a change did not arrive in time");
    await delay(LOOK_EVERY_MS);
  }
  return performance.now() - committed;
}
