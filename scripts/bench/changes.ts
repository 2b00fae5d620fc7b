/** Changes of one dataset, followed by all candidates. */
import { alternately, type Bench, checkpoint } from "./bench.ts";
import type { Following } from "./candidates/candidate.ts";
import type { Dataset } from "./data/dataset.ts";
import type { Expected } from "./measure/arrival.ts";
import { changeAndWait } from "./measure/change.ts";
import type { Cost } from "./measure/run.ts";
import { type Measurement, work } from "./result.ts";
import type { Servers } from "./servers.ts";

/** A change that can be made again and again, each time with another value. */
export interface Change {
  /** For the report. */
  readonly name: string;
  /** Documents that it makes look otherwise, by the indices in the order of the schema file. */
  readonly documents: readonly number[];
  /** SQL for the keys of those documents, by index; `all` for all of them. */
  readonly keys: readonly (string | "all")[];
  /** Commits it. @param value another one each time, above 0 and below 30,000 */
  commit(servers: Servers, value: number): Promise<void>;
  /** What finds the changed documents in each index. */
  readonly queries: (value: number) => readonly object[];
  /** How often it is made in each round, one after the other. */
  readonly repeat?: number;
  /** Whether PGSync takes part, where it is wanted at all. */
  readonly python: boolean;
}

/** A candidate that is loaded and waits for its turn. */
interface Party {
  readonly name: string;
  /** Makes the change with each of the values in turn, but for the floor, and waits each time until it has arrived. */
  round(values: readonly number[]): Promise<readonly Cost[]>;
}

/**
 * The floor and pgsync in turn, then PGSync by itself. pgsync follows all the time: while the floor writes, it has nothing to do, for nothing
 * is changed then. In the end pgsync's documents are compared with their rows.
 *
 * @param changes one after the other
 */
export async function changes(
  bench: Bench,
  dataset: Dataset,
  all: readonly Change[],
): Promise<Measurement[]> {
  const servers = await bench.servers(dataset);
  const pgsync = bench.pgsync(servers, dataset);
  const floor = await bench.floor(servers, pgsync);
  await bench.load(servers, floor, dataset, "load");
  await floor.refreshAsUsual();
  const following = await bench.follow(servers, pgsync, dataset);
  let value = 0;
  const measurements: Measurement[] = [];
  const ours = (change: Change): Party => followerParty(servers, pgsync, following, change);
  for (const change of all) {
    const parties: Party[] = [
      { name: floor.name, round: (values) => floor.write(change.keys, values.length) },
      ours(change),
    ];
    // Once unmeasured, as before every load.
    for (const party of parties) await party.round([++value]);
    measurements.push(...await turns(bench, servers, parties, change, bench.options.rounds, () => ++value));
  }
  await following.stop();
  await pgsync.verify();
  await pgsync.clear();
  await floor.clear();

  const suitable = all.filter((change) => change.python);
  const python = suitable.length === 0 ? null : bench.python(servers, dataset);
  if (python === null) return measurements;
  const theirs = await bench.follow(servers, python, dataset);
  for (const change of suitable) {
    const party = followerParty(servers, python, theirs, change);
    measurements.push(
      ...await turns(bench, servers, [party], change, bench.options.pythonRounds, () => ++value),
    );
  }
  await theirs.stop();
  await python.clear();
  return measurements;
}

function followerParty(
  servers: Servers,
  { name, indices }: { readonly name: string; readonly indices: readonly string[] },
  following: Following,
  change: Change,
): Party {
  return {
    name,
    async round(values) {
      const costs: Cost[] = [];
      for (const value of values) {
        const queries = change.queries(value);
        const expected: Expected[] = indices.map((index, place) => ({
          index,
          query: queries[place] ?? {},
          documents: change.documents[place] ?? 0,
        }));
        costs.push(await changeAndWait(servers, following, expected, () => change.commit(servers, value)));
      }
      return costs;
    },
  };
}

async function turns(
  bench: Bench,
  servers: Servers,
  parties: readonly Party[],
  change: Change,
  rounds: number,
  next: () => number,
): Promise<Measurement[]> {
  const documents = change.documents.reduce((sum, count) => sum + count, 0);
  const results = await alternately(parties, rounds, async (party, round) => {
    await checkpoint(servers);
    const costs = await party.round(Array.from({ length: change.repeat ?? 1 }, next));
    const [first] = costs;
    if (first !== undefined) bench.tell(`${change.name}, round ${round}`, party.name, documents, first);
    return costs;
  });
  return results.map(([{ name }, costs]) => ({
    case: change.name,
    candidate: name,
    work: work("documents", documents, costs.flat()),
  }));
}
