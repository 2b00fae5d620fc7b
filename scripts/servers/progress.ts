/** Progress of downloads and loads: bars on a terminal, plain lines elsewhere (CI logs). */
import process from "node:process";
import cliProgress from "cli-progress";

/** Told how far something is. `total` is null where it is not known. */
export type OnProgress = (label: string, done: number, total: number | null) => void;

/** Shows progress to a person or a log, on standard error. Each label has a bar or a sequence of lines of its own. */
export interface ProgressView {
  /** Amounts in bytes, as of downloads. */
  readonly bytes: OnProgress;
  /** Amounts in rows or documents, as of loads. */
  readonly rows: OnProgress;
  /** Prints a line; while there are bars, below them when they end. */
  log(line: string): void;
  /** Ends all bars; what is reported later begins new ones. */
  stop(): void;
}

type Unit = "MB" | "rows";

/** Where there is no terminal, at most one line per label in this time, and one at the end. */
const PLAIN_INTERVAL_MS = 5_000;
const LABEL_WIDTH = 28;

/** Makes a view. `terminal` is whether standard error is one. */
export function progressView(terminal: boolean = process.stderr.isTTY === true): ProgressView {
  return terminal ? barView() : plainView();
}

function barView(): ProgressView {
  let bars: cliProgress.MultiBar | null = null;
  const shown = new Map<string, cliProgress.SingleBar>();
  const lines: string[] = [];
  const update = (unit: Unit): OnProgress => (label, done, total) => {
    bars ??= new cliProgress.MultiBar(
      { format: "{label} {bar} {amount}", hideCursor: true, barsize: 30, emptyOnZero: true },
      cliProgress.Presets.shades_classic,
    );
    const amount = amountText(unit, done, total);
    const bar = shown.get(label) ?? bars.create(1, 0, { label: label.padEnd(LABEL_WIDTH), amount });
    shown.set(label, bar);
    bar.setTotal(Math.max(total ?? done, 1));
    bar.update(total === null ? 0 : Math.min(done, total), { amount });
  };
  return {
    bytes: update("MB"),
    rows: update("rows"),
    log(line) {
      if (bars === null) console.error(line);
      else lines.push(line);
    },
    stop() {
      bars?.stop();
      bars = null;
      shown.clear();
      for (const line of lines.splice(0)) console.error(line);
    },
  };
}

function plainView(): ProgressView {
  const printed = new Map<string, { at: number; line: string }>();
  const update = (unit: Unit): OnProgress => (label, done, total) => {
    const last = printed.get(label);
    const line = `${label}: ${amountText(unit, done, total)}`;
    const finished = total !== null && done >= total;
    if (
      last !== undefined && (line === last.line || (!finished && Date.now() - last.at < PLAIN_INTERVAL_MS))
    ) return;
    printed.set(label, { at: Date.now(), line });
    console.error(line);
  };
  return {
    bytes: update("MB"),
    rows: update("rows"),
    log: (line) => console.error(line),
    stop: () => printed.clear(),
  };
}

/** `12 of 60 MB`, `4,000 of 20,000 rows`; without the total where it is not known. */
function amountText(unit: Unit, done: number, total: number | null): string {
  const amount = (value: number) => (unit === "MB" ? Math.round(value / 1e6) : value).toLocaleString("en-US");
  return total === null
    ? `${amount(done)} ${unit}`
    : `${amount(Math.min(done, total))} of ${amount(total)} ${unit}`;
}
