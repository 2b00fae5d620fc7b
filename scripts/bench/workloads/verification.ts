/** Workload v: every document of the index compared with its rows, by `pgsync verify`. */
import { checkpoint, type Workload } from "../bench.ts";
import type { Cost } from "../measure/run.ts";
import { work } from "../result.ts";

const CASE = "verify";

export const verification: Workload = {
  letter: "v",
  name: "verify",
  title: "Comparing all documents with their rows",
  async run(bench) {
    const dataset = bench.bookshop;
    const servers = await bench.servers(dataset);
    const pgsync = bench.pgsync(servers, dataset);
    await bench.load(servers, pgsync, dataset, "load");
    const rounds: Cost[] = [];
    const [documents = 0] = dataset.documents;
    for (let round = 1; round <= bench.options.rounds; round++) {
      await checkpoint(servers);
      const cost = await pgsync.verify();
      bench.tell(`${CASE}, round ${round}`, pgsync.name, documents, cost);
      rounds.push(cost);
    }
    await pgsync.clear();
    const found = work("documents", documents, rounds);
    return { measurements: [{ case: CASE, candidate: pgsync.name, work: found }], verdicts: [] };
  },
};
