/** One change, followed by one candidate. */
import type { Following } from "../candidates/candidate.ts";
import type { Servers } from "../servers.ts";
import { arrivalOf, type Expected } from "./arrival.ts";
import type { Cost } from "./run.ts";

/** Commits a change and waits until all of it stands in the index. @returns the time is that from the commit on */
export async function changeAndWait(
  servers: Servers,
  following: Following,
  expected: readonly Expected[],
  change: () => Promise<void>,
): Promise<Cost> {
  const arrival = await arrivalOf(servers.search, expected);
  // Before the commit: whoever decodes while the transaction is under way shall pay for it.
  const measuring = following.measure();
  const began = performance.now();
  await change();
  const committed = performance.now();
  const arrived = await arrival.wait();
  const cost = await measuring.stop(arrived);
  return { ...cost, seconds: cost.seconds - (committed - began) / 1000 };
}
