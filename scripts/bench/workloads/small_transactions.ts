/** Workload d: as many small transactions as pgbench can commit. */
import { alternately, type Bench, checkpoint, type Workload } from "../bench.ts";
import { RecvLogical } from "../candidates/recvlogical.ts";
import type { Measuring } from "../measure/run.ts";
import { startPgbench } from "../data/pgbench.ts";
import { probeOnce } from "../data/probing.ts";
import type { Cost } from "../measure/run.ts";
import { median } from "../measure/statistics.ts";
import { atMost, figureOf, type Measurement, work } from "../result.ts";
import type { Servers } from "../servers.ts";

const SECONDS = 60;
export const CLIENTS = 8;
const CASE = "pgbench, 8 clients";
const BEHIND = "behind at the end, s";
const PUBLICATION = "bench_all_tables";

/** Somebody who reads the slot during the transactions. */
interface Reader {
  readonly name: string;
  begin(): Promise<Reading>;
  /** Milliseconds from now until all is done; NaN where that cannot be seen. */
  behind(): Promise<number>;
}

interface Reading {
  measure(): Measuring;
  stop(): Promise<void>;
}

interface Round {
  readonly transactions: number;
  readonly behind: number;
  readonly cost: Cost;
}

export const smallTransactions: Workload = {
  letter: "d",
  name: "pgbench",
  title: "Small transactions, mixed root, child and link",
  async run(bench) {
    const dataset = bench.bookshop;
    const servers = await bench.servers(dataset);
    const pgsync = bench.pgsync(servers, dataset);
    await bench.load(servers, pgsync, dataset, "load");
    const behind = () => probeOnce(servers, dataset);
    const parties: Reader[] = [
      recvLogical(servers),
      { name: pgsync.name, begin: () => pgsync.follow(), behind },
    ];
    const measurements = await turns(bench, servers, parties, bench.options.rounds);
    await pgsync.catchUp();
    // What was written was written right.
    await pgsync.verify();
    await pgsync.clear();
    const python = bench.python(servers, dataset);
    if (python !== null) {
      await bench.load(servers, python, dataset, "load");
      const theirs = [{ name: python.name, begin: () => python.follow(), behind }];
      measurements.push(...await turns(bench, servers, theirs, bench.options.pythonRounds));
      await python.clear();
    }
    const seconds = figureOf(measurements, CASE, "pgsync", BEHIND);
    return {
      measurements,
      verdicts: atMost("small transactions: at most 1 s behind at the end", seconds, 1, " s"),
    };
  },
};

async function turns(
  bench: Bench,
  servers: Servers,
  parties: readonly Reader[],
  rounds: number,
): Promise<Measurement[]> {
  const seconds = bench.scaled(SECONDS, 5);
  const results = await alternately(parties, rounds, async (party, round): Promise<Round> => {
    const reading = await party.begin();
    await checkpoint(servers);
    const measuring = reading.measure();
    const pgbench = await startPgbench(servers, { clients: CLIENTS, seconds });
    const rate = await pgbench.ended;
    const behind = await party.behind() / 1_000;
    const cost = await measuring.stop();
    await reading.stop();
    bench.tell(`${CASE}, round ${round}`, party.name, rate * seconds, cost);
    return { transactions: rate * seconds, behind, cost };
  });
  return results.map(([{ name }, found]) => {
    const transactions = median(found.map((round) => round.transactions));
    const behind = median(found.map((round) => round.behind));
    return {
      case: CASE,
      candidate: name,
      work: work("transactions", Math.round(transactions), found.map(({ cost }) => cost)),
      figures: {
        "committed, transactions/s": transactions / seconds,
        ...(Number.isNaN(behind) ? {} : { [BEHIND]: behind }),
      },
    };
  });
}

/** What reading the slot costs PostgreSQL and its clients at the least. */
function recvLogical(servers: Servers): Reader {
  const reader = new RecvLogical(servers, PUBLICATION);
  return {
    name: reader.name,
    async begin() {
      await servers.sql.unsafe(`CREATE PUBLICATION ${PUBLICATION} FOR ALL TABLES`);
      await reader.begin();
      const following = await reader.follow();
      return {
        measure: following.measure,
        async stop() {
          await following.stop();
          await reader.clear();
          await servers.sql.unsafe(`DROP PUBLICATION ${PUBLICATION}`);
        },
      };
    },
    behind: () => Promise.resolve(NaN),
  };
}
