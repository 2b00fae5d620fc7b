/** All workloads, in the order in which they run. */
import type { Workload } from "../bench.ts";
import { fanOut } from "./fan_out.ts";
import { initialLoad } from "./initial_load.ts";
import { largeTransaction } from "./large_transaction.ts";
import { latency } from "./latency.ts";
import { loadBesideStream } from "./load_beside_stream.ts";
import { narrow } from "./narrow_table.ts";
import { smallTransactions } from "./small_transactions.ts";
import { startUp } from "./start_up.ts";
import { threeIndices } from "./three_indices.ts";
import { unusedChanges } from "./unused_changes.ts";
import { verification } from "./verification.ts";

export const WORKLOADS: readonly Workload[] = [
  ...[initialLoad, narrow, largeTransaction, smallTransactions, latency, fanOut, unusedChanges],
  ...[startUp, loadBesideStream, threeIndices, verification],
];

/** Finds workloads by letters or names. @throws Error where there is none of that name */
export function workloadsOf(list: string): readonly Workload[] {
  const wanted = list.split(",").map((text) => {
    const found = WORKLOADS.find(({ letter, name }) => text === letter || text === name);
    if (found === undefined) throw new Error(`--only: there is no workload "${text}".`);
    return found;
  });
  return WORKLOADS.filter((workload) => wanted.includes(workload));
}
