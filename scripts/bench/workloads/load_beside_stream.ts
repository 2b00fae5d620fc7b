/** Workload i: the initial load while others write: they are followed at the same time. */
import type { Workload } from "../bench.ts";
import { startPgbench } from "../data/pgbench.ts";
import { loads } from "../loads.ts";
import type { Servers } from "../servers.ts";
import { CLIENTS } from "./small_transactions.ts";

const CASE = "bookshop beside small transactions";
/** The same for all, far from what PostgreSQL could do: it is the load that is measured. */
const TRANSACTIONS_A_SECOND = 300;
const A_DAY_S = 86_400;

export const loadBesideStream: Workload = {
  letter: "i",
  name: "beside",
  title: "Initial load beside small transactions",
  async run(bench) {
    const measurements = await loads(bench, bench.bookshop, {
      name: CASE,
      python: true,
      async beside(servers: Servers) {
        const options = { clients: CLIENTS, seconds: A_DAY_S, rate: TRANSACTIONS_A_SECOND };
        const pgbench = await startPgbench(servers, options);
        return async () => ({ "committed beside, transactions/s": await pgbench.stop() });
      },
      async check(pgsync) {
        await pgsync.catchUp();
        await pgsync.verify();
      },
    });
    return { measurements, verdicts: [] };
  },
};
