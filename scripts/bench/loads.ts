/** Initial loads of one dataset by all candidates. */
import { alternately, type Bench } from "./bench.ts";
import type { Candidate } from "./candidates/candidate.ts";
import { Pgsync } from "./candidates/pgsync.ts";
import type { Dataset } from "./data/dataset.ts";
import type { Cost } from "./measure/run.ts";
import { type Measurement, work } from "./result.ts";
import type { Servers } from "./servers.ts";

export interface LoadOptions {
  /** For the report: what is loaded. */
  readonly name: string;
  /** Numbers of workers with which pgsync loads, too; beside its default. */
  readonly workers?: readonly number[];
  /** Whether PGSync takes part, where it is wanted at all. */
  readonly python: boolean;
  /** Runs during each load, and is ended after it. @returns what it has found */
  readonly beside?: (servers: Servers) => Promise<() => Promise<Readonly<Record<string, number>>>>;
  /** Runs after each load of pgsync's, before its indices are removed. */
  readonly check?: (pgsync: Pgsync) => Promise<void>;
}

/**
 * The floor, pgsync, and PGSync, in turn; the floor comes once more before, unmeasured, so that the servers are warm. PGSync comes last, by
 * itself: its triggers would slow down whoever writes.
 */
export async function loads(bench: Bench, dataset: Dataset, options: LoadOptions): Promise<Measurement[]> {
  const { name, workers = [], python: wantsPython, beside, check } = options;
  const servers = await bench.servers(dataset);
  const pgsync = bench.pgsync(servers, dataset);
  const floor = await bench.floor(servers, pgsync);
  const others = workers.map((count) => bench.pgsync(servers, dataset, count));
  const documents = dataset.documents.reduce((sum, count) => sum + count, 0);
  const figures = new Map<Candidate, Readonly<Record<string, number>>>();

  const once = async (candidate: Candidate, label: string): Promise<Cost> => {
    const end = await beside?.(servers);
    const cost = await bench.load(servers, candidate, dataset, `${name}, ${label}`);
    const found = await end?.();
    if (found !== undefined) figures.set(candidate, found);
    if (candidate instanceof Pgsync) await check?.(candidate);
    await candidate.clear();
    return cost;
  };
  await once(floor, "warm-up");
  const parties: readonly Candidate[] = [floor, pgsync, ...others];
  const results = [
    ...await alternately(
      parties,
      bench.options.rounds,
      (candidate, round) => once(candidate, `round ${round}`),
    ),
  ];
  const python = wantsPython ? bench.python(servers, dataset) : null;
  if (python !== null) {
    results.push(
      ...await alternately<Candidate, Cost>(
        [python],
        bench.options.pythonRounds,
        (candidate, round) => once(candidate, `round ${round}`),
      ),
    );
  }
  return results.map(([candidate, rounds]) => {
    const found = figures.get(candidate);
    return {
      case: name,
      candidate: candidate.name,
      work: work("documents", documents, rounds),
      ...(found === undefined ? {} : { figures: found }),
    };
  });
}
