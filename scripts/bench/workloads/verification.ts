/** Workload: every document of the index compared with its rows. */
import type { Pgsync } from "../candidates/pgsync.ts";
import { type Cost, measure } from "../measure/run.ts";
import type { Servers } from "../servers.ts";
import { medianCost } from "./initial_load.ts";

/** What `pgsync verify` costs where nothing differs. */
export interface VerificationResult {
  readonly rounds: readonly Cost[];
  /** Of each figure by itself. */
  readonly median: Cost;
  readonly documentsPerSecond: number;
}

/** Verifies an index that is loaded; no sync runs beside it. @throws Error where something differs */
export async function verification(
  servers: Servers,
  pgsync: Pgsync,
  options: { readonly documents: number; readonly rounds: number; readonly log: (line: string) => void },
): Promise<VerificationResult> {
  const rounds: Cost[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    const cost = await measure(pgsync.command("verify"), servers);
    options.log(`round ${round}  verify ${cost.seconds.toFixed(2)} s`);
    rounds.push(cost);
  }
  const median = medianCost(rounds);
  return { rounds, median, documentsPerSecond: options.documents / median.seconds };
}
