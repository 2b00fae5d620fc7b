/** The figures, for people. */
import type { LatencyResult } from "./workloads/latency.ts";
import type { LoadResult } from "./workloads/initial_load.ts";
import type { StartUpResult } from "./workloads/start_up.ts";
import type { VerificationResult } from "./workloads/verification.ts";

/** All that a run of the benchmark has found; what goes into the JSON file. */
export interface BenchResult {
  readonly date: string;
  readonly machine: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly books: number;
  readonly load?: readonly LoadResult[];
  readonly verification?: VerificationResult;
  readonly latency?: LatencyResult;
  readonly startUp?: StartUpResult;
}

/** Medians, and the ratios of the first target: Markdown. */
export function report(result: BenchResult): string {
  return [
    ...(result.load === undefined ? [] : loadLines(result.load)),
    ...(result.verification === undefined ? [] : verificationLines(result.verification)),
    ...(result.latency === undefined ? [] : latencyLines(result.latency)),
    ...(result.startUp === undefined ? [] : startUpLines(result.startUp)),
  ].join("\n");
}

function loadLines(results: readonly LoadResult[]): string[] {
  const floor = results.find(({ candidate }) => candidate === "floor");
  const rows = results.map(({ candidate, median, documentsPerSecond, rounds }) => [
    candidate,
    `${median.seconds.toFixed(2)} s`,
    rounds.map(({ seconds }) => seconds.toFixed(2)).join(", "),
    documentsPerSecond.toFixed(0),
    floor === undefined ? "" : (median.seconds / floor.median.seconds).toFixed(2),
    `${median.cpu.toFixed(2)} s`,
    megabytes(median.peakRss),
    `${median.postgresCpu.toFixed(1)} s`,
    `${median.searchCpu.toFixed(1)} s`,
    `${median.otherCpu.toFixed(1)} s`,
  ]);
  const head = [
    ...["initial load", "time", "rounds", "documents/s", "× floor", "CPU", "peak RSS"],
    ...["PostgreSQL's CPU", "Elasticsearch's CPU", "others' CPU"],
  ];
  return markdown(head, rows);
}

function verificationLines({ median, rounds, documentsPerSecond }: VerificationResult): string[] {
  return markdown(
    ["verify", "rounds", "documents/s", "CPU", "peak RSS", "PostgreSQL's CPU", "Elasticsearch's CPU"],
    [[
      `${median.seconds.toFixed(2)} s`,
      rounds.map(({ seconds }) => seconds.toFixed(2)).join(", "),
      documentsPerSecond.toFixed(0),
      `${median.cpu.toFixed(2)} s`,
      megabytes(median.peakRss),
      `${median.postgresCpu.toFixed(1)} s`,
      `${median.searchCpu.toFixed(1)} s`,
    ]],
  );
}

function latencyLines({ changes, visible, acknowledged, stages, idleRss }: LatencyResult): string[] {
  const row = (
    name: string,
    { p50, p95, p99 }: LatencyResult["visible"],
  ) => [name, ...[p50, p95, p99].map((ms) => `${ms.toFixed(1)} ms`)];
  return [
    ...markdown([`${changes} single changes, idle`, "p50", "p95", "p99"], [
      row("COMMIT → realtime GET shows it", visible),
      row("commit → acknowledged (its own histogram)", acknowledged),
    ]),
    `Mean of the stages: ${
      Object.entries(stages).map(([stage, ms]) => `${stage} ${ms.toFixed(1)} ms`).join(", ")
    }. Idle RSS before: ${megabytes(idleRss)}.`,
    "",
  ];
}

function startUpLines({ starts, firstLogLine, ready }: StartUpResult): string[] {
  return markdown(["start-up", "median"], [
    [`process → first log line (${starts} starts)`, `${firstLogLine.toFixed(0)} ms`],
    ["process → ready, on an existing slot", `${ready.toFixed(0)} ms`],
  ]);
}

/** Bytes, for people. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

/** A table in Markdown, as lines. */
export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0))
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  return [line(head), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...rows.map(line), ""];
}
