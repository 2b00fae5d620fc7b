/** What all workloads share: the servers, the candidates, and how large everything is. */
import { Floor, type FloorOptions } from "./candidates/floor.ts";
import { Pgsync } from "./candidates/pgsync.ts";
import { PythonPgsync, type PythonTools } from "./candidates/python_pgsync.ts";
import type { Candidate, Follower } from "./candidates/candidate.ts";
import type { Dataset } from "./data/dataset.ts";
import { bookshop, threeIndices } from "./data/bookshop.ts";
import type { ProgressView } from "../servers/progress.ts";
import type { Cost } from "./measure/run.ts";
import type { Findings } from "./result.ts";
import type { EmptyServers, Servers } from "./servers.ts";

/** One kind of work: a file of the folder `workloads`. */
export interface Workload {
  /** As issue and documentation name it. */
  readonly letter: string;
  readonly name: string;
  readonly title: string;
  run(bench: Bench): Promise<Findings>;
}

export interface BenchOptions {
  /** All amounts are multiplied by it. */
  readonly scale: number;
  readonly rounds: number;
  /** Rounds of PGSync, which takes long. */
  readonly pythonRounds: number;
  /** The executable that is measured; null for the sources under Deno. */
  readonly executable: string | null;
  readonly floor: FloorOptions;
  readonly log: (line: string) => void;
}

/** Books of the bookshop that most workloads share. */
const BOOKS = 200_000;
/** The database that they share. */
const SHARED = "bookshop";

/** Handed to each workload. */
export class Bench {
  readonly #servers = new Map<string, Servers>();

  constructor(
    readonly options: BenchOptions,
    private readonly empty: EmptyServers,
    private readonly view: ProgressView,
    private readonly tools: PythonTools | null,
  ) {}

  /** An amount at the scale of this run. @param least below which it makes no sense */
  scaled(amount: number, least = 1): number {
    return Math.max(least, Math.round(amount * this.options.scale));
  }

  /** The bookshop that workloads share: made once, never dropped. */
  get bookshop(): Dataset {
    return this.booksIn(SHARED, BOOKS);
  }

  /** Its tables, in three indices. */
  get threeIndices(): Dataset {
    return threeIndices(SHARED, this.scaled(BOOKS, 1_000), this.view);
  }

  /** A bookshop of its own, in a database of that name. */
  booksIn(name: string, books: number): Dataset {
    return bookshop(name, this.scaled(books, 1_000), this.view);
  }

  /** The servers with the database of a dataset, which is made and filled at its first use. */
  async servers({ name, fill }: Dataset): Promise<Servers> {
    const known = this.#servers.get(name);
    if (known !== undefined) return known;
    this.options.log(`filling the database ${name}`);
    const servers = await this.empty.database({ name, fill });
    this.view.stop();
    this.#servers.set(name, servers);
    return servers;
  }

  /** Drops the database of a dataset. Nothing may be left of what candidates have made. */
  async drop({ name }: Dataset): Promise<void> {
    const servers = this.#servers.get(name);
    if (servers !== undefined) await this.empty.drop(servers);
    this.#servers.delete(name);
  }

  /** @param workers of the initial load; the default, when absent */
  pgsync(servers: Servers, { schema }: Dataset, workers?: number): Pgsync {
    return new Pgsync(servers, this.options.executable, schema, workers);
  }

  /** The floor of the same documents. */
  async floor(servers: Servers, pgsync: Pgsync): Promise<Floor> {
    return new Floor(servers, await pgsync.plan(), this.options.floor);
  }

  /** PGSync, where it is wanted; else null. */
  python(servers: Servers, { schema, probe }: Dataset): PythonPgsync | null {
    return this.tools === null ? null : new PythonPgsync(this.tools, servers, schema, probe);
  }

  /** Loads a candidate. @throws Error where its indices do not hold all documents afterwards */
  async load(servers: Servers, candidate: Candidate, dataset: Dataset, label: string): Promise<Cost> {
    await checkpoint(servers);
    const cost = await candidate.load();
    for (const [place, index] of candidate.indices.entries()) {
      const [count, wanted] = [await servers.search.count(index), dataset.documents[place]];
      if (count !== wanted) {
        throw new Error(`${candidate.name}: ${index} holds ${count} documents, not ${wanted}`);
      }
    }
    const documents = dataset.documents.reduce((sum, count) => sum + count, 0);
    this.tell(label, candidate.name, documents, cost);
    return cost;
  }

  /** Sets a follower up: loaded, and following. */
  async follow(servers: Servers, follower: Follower, dataset: Dataset) {
    await this.load(servers, follower, dataset, "load");
    return await follower.follow();
  }

  /** Tells what a round has cost. */
  tell(label: string, name: string, units: number, cost: Cost): void {
    const rate = (units / cost.seconds).toFixed(0);
    const memory = (cost.peakRss / 1e6).toFixed(0);
    this.options.log(
      `${label}: ${name.padEnd(14)} ${cost.seconds.toFixed(2)} s, ${rate}/s, CPU ${
        cost.cpu.toFixed(2)
      } s, ${memory} MB`,
    );
  }
}

/** Nobody pays for what the one before has left to be written. */
export async function checkpoint(servers: Servers): Promise<void> {
  await servers.sql`CHECKPOINT`;
}

/**
 * Runs several parties in turn, `rounds` times each; the order is turned round every time, so that none always comes first.
 *
 * @returns what each has given, in the order of the parties
 */
export async function alternately<Party, Result>(
  parties: readonly Party[],
  rounds: number,
  run: (party: Party, round: number) => Promise<Result>,
): Promise<readonly (readonly [Party, readonly Result[]])[]> {
  const results = new Map<Party, Result[]>(parties.map((party) => [party, []]));
  for (let round = 1; round <= rounds; round++) {
    const order = round % 2 === 1 ? parties : parties.toReversed();
    for (const party of order) results.get(party)?.push(await run(party, round));
  }
  return [...results];
}
