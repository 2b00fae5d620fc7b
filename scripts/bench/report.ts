/** The figures, for people. */
import { inFigures, type Measurement, type Verdict, type Work, type WorkloadResult } from "./result.ts";

/** Medians, ratios, and targets: Markdown. */
export function report(results: readonly WorkloadResult[]): string {
  return results.flatMap((result) => [
    `## ${result.letter}: ${result.title}`,
    "",
    ...workLines(result.measurements),
    ...figureLines(result.measurements),
    ...verdictLines(result.verdicts),
  ]).join("\n");
}

function workLines(measurements: readonly Measurement[]): string[] {
  const all = measurements.flatMap(({ work, ...of }) => work === undefined ? [] : [{ ...of, work }]);
  if (all.length === 0) return [];
  const hasHelper = all.some(({ work }) => work.median.helperPeakRss > 0);
  const first = new Map(all.toReversed().map(({ case: name, work }) => [name, work]));
  const head = [
    ...[
      "case",
      "candidate",
      "units",
      "time",
      "rounds",
      "per second",
      "× first",
      "CPU",
      "of all CPU",
      "peak RSS",
    ],
    ...["PostgreSQL's CPU", "RSS", "Elasticsearch's CPU", "RSS", ...hasHelper ? ["Redis' CPU", "RSS"] : []],
    "others' CPU",
  ];
  return markdown(
    head,
    all.map(({ case: name, candidate, work }) => workRow(name, candidate, work, first.get(name), hasHelper)),
  );
}

function workRow(
  name: string,
  candidate: string,
  work: Work,
  first: Work | undefined,
  hasHelper: boolean,
): string[] {
  const { median, rounds, units, unit, perSecond } = work;
  const all = median.cpu + median.postgresCpu + median.searchCpu + median.helperCpu;
  return [
    ...[name, candidate, `${units} ${unit}`, seconds(median.seconds)],
    // Of many short rounds nobody reads each.
    rounds.length > 5 ? `${rounds.length}` : rounds.map((round) => inFigures(round.seconds)).join(", "),
    perSecond.toFixed(0),
    first === undefined ? "" : `${(perSecond / first.perSecond).toFixed(2)}`,
    ...[seconds(median.cpu), `${(100 * median.cpu / all).toFixed(0)}%`, megabytes(median.peakRss)],
    ...[seconds(median.postgresCpu), megabytes(median.postgresPeakRss)],
    ...[seconds(median.searchCpu), megabytes(median.searchPeakRss)],
    ...hasHelper ? [seconds(median.helperCpu), megabytes(median.helperPeakRss)] : [],
    seconds(median.otherCpu),
  ];
}

function figureLines(measurements: readonly Measurement[]): string[] {
  const rows = measurements.flatMap(({ case: name, candidate, figures = {} }) =>
    Object.entries(figures).map(([figure, value]) => [name, candidate, figure, inFigures(value)])
  );
  return rows.length === 0 ? [] : markdown(["case", "candidate", "figure", "found"], rows);
}

function verdictLines(verdicts: readonly Verdict[]): string[] {
  const rows = verdicts.map(({ target, found, isMet }) => [target, found, isMet ? "met" : "**not met**"]);
  return rows.length === 0 ? [] : markdown(["target", "found", ""], rows);
}

function seconds(value: number): string {
  return `${inFigures(value)} s`;
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
