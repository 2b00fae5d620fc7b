/** Where results are kept: a JSON file and the chart of all that it holds. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { chart } from "./chart.ts";
import type { WorkloadResult } from "./result.ts";

const COST = z.object({
  seconds: z.number(),
  cpu: z.number(),
  peakRss: z.number(),
  postgresCpu: z.number(),
  postgresPeakRss: z.number(),
  searchCpu: z.number(),
  searchPeakRss: z.number(),
  helperCpu: z.number(),
  helperPeakRss: z.number(),
  otherCpu: z.number(),
});
const WORK = z.object({
  unit: z.string(),
  units: z.number(),
  rounds: z.array(COST),
  median: COST,
  perSecond: z.number(),
});
const MEASUREMENT = z.object({
  case: z.string(),
  candidate: z.string(),
  work: WORK.exactOptional(),
  figures: z.record(z.string(), z.number()).exactOptional(),
});
const RESULTS: z.ZodType<readonly WorkloadResult[]> = z.array(z.object({
  letter: z.string(),
  name: z.string(),
  title: z.string(),
  date: z.string(),
  machine: z.string(),
  loadBefore: z.number(),
  versions: z.record(z.string(), z.string()),
  scale: z.number(),
  measurements: z.array(MEASUREMENT),
  verdicts: z.array(z.object({ target: z.string(), found: z.string(), isMet: z.boolean() })),
}));

/** Writes the results of a run beside those of other workloads that were there, and draws all of them. */
export function store(folder: string, results: readonly WorkloadResult[]): void {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "bench.json");
  const before = existsSync(file) ? RESULTS.parse(JSON.parse(readFileSync(file, "utf8"))) : [];
  const kept = before.filter(({ letter }) => !results.some((result) => result.letter === letter));
  const all = [...kept, ...results].toSorted((a, b) => a.letter.localeCompare(b.letter));
  writeFileSync(file, JSON.stringify(all, null, 2) + "\n");
  writeFileSync(join(folder, "bench.svg"), chart(all));
}
