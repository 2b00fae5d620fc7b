/** Workload: all documents, from nothing. */
import type { Candidate } from "../candidates/candidate.ts";
import type { Cost } from "../measure/run.ts";
import { median } from "../measure/statistics.ts";
import type { Servers } from "../servers.ts";

/** One candidate's rounds. */
export interface LoadResult {
  readonly candidate: string;
  readonly description: string;
  readonly rounds: readonly Cost[];
  /** Of each figure by itself. */
  readonly median: Cost;
  readonly documentsPerSecond: number;
}

/**
 * Runs the candidates in turn, `rounds` times each; the order is turned round every time, so that none always comes
 * first. The first candidate runs once more before, unmeasured, so that the servers are warm.
 *
 * @param keep the candidate whose last index is left as it is: its last round is the last of all; null for none
 * @throws Error where an index does not hold exactly `documents` documents afterwards
 */
export async function initialLoad(
  servers: Servers,
  candidates: readonly Candidate[],
  keep: Candidate | null,
  options: { readonly documents: number; readonly rounds: number; readonly log: (line: string) => void },
): Promise<readonly LoadResult[]> {
  const costs = new Map<Candidate, Cost[]>(candidates.map((candidate) => [candidate, []]));
  const others = candidates.filter((candidate) => candidate !== keep);
  const one = async (candidate: Candidate, label: string, last: boolean) => {
    // Nobody pays for what the one before has left to be written.
    await servers.sql`CHECKPOINT`;
    const cost = await candidate.load();
    const count = await servers.search.count(candidate.index);
    if (count !== options.documents) {
      throw new Error(`${candidate.name}: the index holds ${count} documents, not ${options.documents}`);
    }
    options.log(`${label}  ${candidate.name.padEnd(8)} ${describe(cost, options.documents)}`);
    if (!last) await candidate.clear();
    return cost;
  };
  for (const candidate of others.slice(0, 1)) await one(candidate, "warm-up", false);
  for (let round = 1; round <= options.rounds; round++) {
    const keptLast = (options.rounds - round) % 2 === 0;
    const kept = keep === null ? [] : [keep];
    const order = keptLast ? [...others, ...kept] : [...kept, ...others.toReversed()];
    for (const candidate of order) {
      const last = round === options.rounds && candidate === keep;
      costs.get(candidate)?.push(await one(candidate, `round ${round}`, last));
    }
  }
  return [...costs].map(([candidate, rounds]) => {
    const middle = medianCost(rounds);
    return {
      candidate: candidate.name,
      description: candidate.description,
      rounds,
      median: middle,
      documentsPerSecond: options.documents / middle.seconds,
    };
  });
}

/** Of each figure by itself. */
export function medianCost(rounds: readonly Cost[]): Cost {
  const of = (key: keyof Cost) => median(rounds.map((cost) => cost[key]));
  return {
    seconds: of("seconds"),
    cpu: of("cpu"),
    peakRss: of("peakRss"),
    postgresCpu: of("postgresCpu"),
    searchCpu: of("searchCpu"),
    otherCpu: of("otherCpu"),
  };
}

function describe(cost: Cost, documents: number): string {
  return [
    `${cost.seconds.toFixed(2)} s`,
    `${(documents / cost.seconds).toFixed(0)} documents/s`,
    `CPU ${cost.cpu.toFixed(2)} s`,
    `RSS ${(cost.peakRss / 1e6).toFixed(0)} MB`,
    `PostgreSQL ${cost.postgresCpu.toFixed(1)} s`,
    `Elasticsearch ${cost.searchCpu.toFixed(1)} s`,
    `others ${cost.otherCpu.toFixed(1)} s`,
  ].join(", ");
}
