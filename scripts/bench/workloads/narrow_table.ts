/** Workload b: very many small documents of one table. */
import type { Workload } from "../bench.ts";
import { narrowTable } from "../data/plain.ts";
import { loads } from "../loads.ts";
import { workOf } from "../result.ts";
import { loadVerdicts } from "./initial_load.ts";

const ROWS = 5_000_000;
const CASE = "narrow table";

export const narrow: Workload = {
  letter: "b",
  name: "narrow",
  title: "Initial load of a narrow table",
  async run(bench) {
    const dataset = narrowTable(bench.scaled(ROWS, 1_000));
    // PGSync would take the better part of an hour for each round.
    const measurements = await loads(bench, dataset, { name: CASE, python: false });
    await bench.drop(dataset);
    const [floor, ours] = ["floor", "pgsync"].map((candidate) => workOf(measurements, CASE, candidate));
    return { measurements, verdicts: loadVerdicts("narrow table", floor, ours) };
  },
};
