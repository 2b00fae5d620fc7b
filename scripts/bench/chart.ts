/** The figures as a picture: horizontal bars, in groups. */
import { inFigures, type Measurement, type WorkloadResult } from "./result.ts";

interface Bar {
  readonly label: string;
  readonly value: number;
  readonly text: string;
}

interface Group {
  readonly label: string;
  readonly bars: readonly Bar[];
}

interface Panel {
  readonly title: string;
  readonly groups: readonly Group[];
  /** A value that gets a line through all groups. */
  readonly line?: number;
}

const WIDTH = 960;
/** Where bars begin: case and candidate stand before. */
const LEFT = 400;
/** For the figures behind the longest bar. */
const RIGHT = 190;
const BAR = 16;
const GAP = 10;
const TITLE = 34;
/** White around the letters. */
const OVER_THE_LINE = 'paint-order="stroke" stroke="#ffffff" stroke-width="4"';
/** By the beginning of a candidate's name: what others are compared with is grey. */
const COLOURS: readonly (readonly [string, string])[] = [
  ["floor", "#9aa0a6"],
  ["pg_recvlogical", "#9aa0a6"],
  ["pgsync,", "#8ab4f8"],
  ["pgsync", "#1a73e8"],
  ["PGSync", "#e8710a"],
];

/** Draws speed against the first of each case, latency, and memory, as an SVG. */
export function chart(results: readonly WorkloadResult[]): string {
  const all = results.flatMap(({ letter, measurements }) =>
    measurements.map((one) => ({ ...one, case: `${letter}: ${one.case}` }))
  );
  const panels: Panel[] = [
    { title: "Speed, the first of each case = 1", groups: speeds(all), line: 1 },
    { title: "COMMIT → document, ms (p50 and p99)", groups: latencies(all) },
    { title: "Peak memory, MB", groups: memory(all) },
  ].filter(({ groups }) => groups.length > 0);
  const parts: string[] = [];
  let top = GAP;
  for (const panel of panels) {
    const height = heightOf(panel);
    parts.push(...drawn(panel, top, height));
    top += height + GAP;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${top}" viewBox="0 0 ${WIDTH} ${top}"` +
    ` font-family="system-ui, sans-serif" font-size="12" fill="#202124">`,
    `<rect width="${WIDTH}" height="${top}" fill="#ffffff"/>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

function speeds(all: readonly Measurement[]): Group[] {
  const compared = Map.groupBy(all, (one) => one.case);
  return groupsOf(all, (one, first) => {
    if (one.work === undefined || first.work === undefined || compared.get(one.case)?.length === 1) return [];
    const value = one.work.perSecond / first.work.perSecond;
    const text = `${value.toFixed(2)} (${inFigures(one.work.perSecond)} ${one.work.unit}/s)`;
    return [{ label: one.candidate, value, text }];
  });
}

function latencies(all: readonly Measurement[]): Group[] {
  return groupsOf(all, ({ candidate, figures = {} }) =>
    ["p50", "p99"].flatMap((quantile) => {
      const value = figures[`visible ${quantile}, ms`];
      return value === undefined
        ? []
        : [{ label: `${candidate} ${quantile}`, value, text: `${inFigures(value)} ms` }];
    }));
}

function memory(all: readonly Measurement[]): Group[] {
  return groupsOf(all, ({ candidate, work }) => {
    if (work === undefined) return [];
    const value = (work.median.peakRss + work.median.helperPeakRss) / 1e6;
    return [{ label: candidate, value, text: `${value.toFixed(0)} MB` }];
  });
}

/** The bars of each case that has some. */
function groupsOf(
  all: readonly Measurement[],
  barsOf: (one: Measurement, first: Measurement) => readonly Bar[],
): Group[] {
  return [...Map.groupBy(all, (one) => one.case)].map(([label, ones]) => {
    const [first] = ones;
    return { label, bars: first === undefined ? [] : ones.flatMap((one) => barsOf(one, first)) };
  }).filter(({ bars }) => bars.length > 0);
}

function heightOf({ groups }: Panel): number {
  return groups.reduce((sum, { bars }) => sum + bars.length * BAR + GAP, TITLE);
}

function drawn({ title, groups, line }: Panel, top: number, height: number): string[] {
  const most = Math.max(...groups.flatMap(({ bars }) => bars.map(({ value }) => value)), line ?? 0);
  const widthOf = (value: number) => ((WIDTH - LEFT - RIGHT) * value / most).toFixed(1);
  const parts = [text(GAP, top + 18, title, 'font-size="15" font-weight="600"')];
  if (line !== undefined) {
    const x = LEFT + Number(widthOf(line));
    const [from, to] = [top + TITLE - 4, top + height - GAP];
    parts.push(`<line x1="${x}" y1="${from}" x2="${x}" y2="${to}" stroke="#5f6368" stroke-dasharray="3 3"/>`);
  }
  let y = top + TITLE;
  for (const { label, bars } of groups) {
    parts.push(text(GAP, y + BAR - 4, label));
    for (const bar of bars) {
      const base = y + BAR - 4;
      parts.push(
        text(LEFT - 8, base, bar.label, 'text-anchor="end" fill="#5f6368"'),
        `<rect x="${LEFT}" y="${y + 1}" width="${widthOf(bar.value)}" height="${BAR - 3}" fill="${
          colourOf(bar.label)
        }"/>`,
        text(LEFT + Number(widthOf(bar.value)) + 6, base, bar.text, OVER_THE_LINE),
      );
      y += BAR;
    }
    y += GAP;
  }
  return parts;
}

function colourOf(label: string): string {
  return COLOURS.find(([beginning]) => label.startsWith(beginning))?.[1] ?? "#5f6368";
}

function text(x: number, y: number, content: string, attributes = ""): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return `<text x="${x.toFixed(1)}" y="${y}"${attributes === "" ? "" : ` ${attributes}`}>${escaped}</text>`;
}
