/** Workload a: all documents of the bookshop, from nothing. */
import type { Bench, Workload } from "../bench.ts";
import { loads } from "../loads.ts";
import { atMost, type Measurement, ratio, type Verdict, type Work, workOf } from "../result.ts";

const SMALL = 200_000;
const LARGE = 2_000_000;
const SMALL_CASE = "bookshop";
const LARGE_CASE = "ten times the bookshop";

export const initialLoad: Workload = {
  letter: "a",
  name: "load",
  title: "Initial load, three tables below the root",
  async run(bench: Bench) {
    const measurements = await loads(bench, bench.bookshop, { name: SMALL_CASE, workers: [1], python: true });
    const large = bench.booksIn("large_bookshop", LARGE);
    measurements.push(...await loads(bench, large, { name: LARGE_CASE, python: false }));
    await bench.drop(large);
    return { measurements, verdicts: verdicts(measurements) };
  },
};

function verdicts(measurements: readonly Measurement[]): Verdict[] {
  const [floor, ours, alone, large] = [
    workOf(measurements, SMALL_CASE, "floor"),
    workOf(measurements, SMALL_CASE, "pgsync"),
    workOf(measurements, SMALL_CASE, "pgsync, 1 worker"),
    workOf(measurements, LARGE_CASE, "pgsync"),
  ];
  return [
    ...loadVerdicts("initial load", floor, ours),
    ...loadVerdicts("initial load, ten times as many", workOf(measurements, LARGE_CASE, "floor"), large),
    ...atMost(
      "peak RSS of ten times as many documents at most 1.1 × as much",
      ratio(large?.median.peakRss, ours?.median.peakRss),
      1.1,
      " ×",
    ),
    ...atMost(
      `time for a document of ${LARGE / SMALL} times as many at most 1.1 × as long`,
      ratio(ours?.perSecond, large?.perSecond),
      1.1,
      " ×",
    ),
    ...atMost(
      "2 workers faster than 1 (where cores allow)",
      ratio(ours?.median.seconds, alone?.median.seconds),
      1,
      " × the time",
    ),
  ];
}

/** What is wanted of every initial load. @param ours the work of pgsync */
export function loadVerdicts(what: string, floor: Work | undefined, ours: Work | undefined): Verdict[] {
  return [
    ...atMost(
      `${what}: time at most 1.1 × the floor's`,
      ratio(ours?.median.seconds, floor?.median.seconds),
      1.1,
      " ×",
    ),
    ...atMost(`${what}: CPU of pgsync at most 15% of the whole`, shareOfCpu(ours), 15, "%"),
    ...atMost(`${what}: peak RSS at most 150 MB`, ours && ours.median.peakRss / 1e6, 150, " MB"),
  ];
}

/** In percent, of what the candidate and its servers have used. */
function shareOfCpu(ours: Work | undefined): number | undefined {
  if (ours === undefined) return undefined;
  const { cpu, postgresCpu, searchCpu, helperCpu } = ours.median;
  return 100 * cpu / (cpu + postgresCpu + searchCpu + helperCpu);
}
