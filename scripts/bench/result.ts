/** What a run of the benchmark has found. */
import { type Cost, medianCost } from "./measure/run.ts";

/** Work that was done in several rounds. */
export interface Work {
  /** What is counted: documents, rows. */
  readonly unit: string;
  /** How many of them in each round. */
  readonly units: number;
  readonly rounds: readonly Cost[];
  /** Of each figure by itself. */
  readonly median: Cost;
  /** By the median of the time. */
  readonly perSecond: number;
}

/** One candidate in one case of a workload. */
export interface Measurement {
  readonly case: string;
  readonly candidate: string;
  readonly work?: Work;
  /** Whatever else was found; each name ends with its unit. */
  readonly figures?: Readonly<Record<string, number>>;
}

/** A target of ours, and what was found. */
export interface Verdict {
  readonly target: string;
  readonly found: string;
  readonly isMet: boolean;
}

/** What a workload has found. */
export interface Findings {
  /** Within a case the first is what the others are compared with. */
  readonly measurements: readonly Measurement[];
  readonly verdicts: readonly Verdict[];
}

/** The findings of a workload, and how they came about. */
export interface WorkloadResult extends Findings {
  readonly letter: string;
  readonly name: string;
  readonly title: string;
  readonly date: string;
  readonly machine: string;
  /** The mean of runnable processes of the last minute, before it began: far above 0, and something else ran beside it. */
  readonly loadBefore: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly scale: number;
}

/** Puts rounds together. */
export function work(unit: string, units: number, rounds: readonly Cost[]): Work {
  const median = medianCost(rounds);
  return { unit, units, rounds, median, perSecond: units / median.seconds };
}

/** The work of a candidate in a case. */
export function workOf(
  measurements: readonly Measurement[],
  name: string,
  candidate: string,
): Work | undefined {
  return measurements.find((one) => one.case === name && one.candidate === candidate)?.work;
}

/** A figure of a candidate in a case. */
export function figureOf(
  measurements: readonly Measurement[],
  name: string,
  candidate: string,
  figure: string,
): number | undefined {
  return measurements.find((one) => one.case === name && one.candidate === candidate)?.figures?.[figure];
}

/** At most so much. No verdict where nothing was found. */
export function atMost(target: string, found: number | undefined, limit: number, unit: string): Verdict[] {
  return found === undefined ? [] : [{ target, found: `${inFigures(found)}${unit}`, isMet: found <= limit }];
}

/** At least so much. No verdict where nothing was found. */
export function atLeast(target: string, found: number | undefined, limit: number, unit: string): Verdict[] {
  return found === undefined ? [] : [{ target, found: `${inFigures(found)}${unit}`, isMet: found >= limit }];
}

/** What lies between the two; undefined where one is missing. */
export function ratio(part: number | undefined, whole: number | undefined): number | undefined {
  return part === undefined || whole === undefined ? undefined : part / whole;
}

/** A number with three figures that count, for people. */
export function inFigures(value: number): string {
  if (value === 0) return "0";
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(3, decimals));
}
