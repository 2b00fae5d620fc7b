/** Progress of downloads and loads: bars on a terminal, plain lines elsewhere (CI logs). */
import process from "node:process";
import cliProgress from "cli-progress";

/** Told how far something is. `total` is null where it is not known. */
export type OnProgress = (label: string, done: number, total: number | null) => void;

/** Shows progress to a person or a log. */
export interface ProgressView {
  readonly update: OnProgress;
  /** Completes a line that has been begun. */
  finish(label: string): void;
  /** Prints a line above the bars. */
  log(line: string): void;
  /** Ends all bars. */
  stop(): void;
}

/** How amounts are printed: bytes of a download, or rows of a load. */
export type Unit = "bytes" | "rows";

/** Where there is no terminal, at most one line per label in this time. */
const PLAIN_INTERVAL_MS = 5_000;

/** Makes a view for one unit. `terminal` is whether standard error is one. */
export function progressView(unit: Unit, terminal: boolean = process.stderr.isTTY === true): ProgressView {
  return terminal ? barView(unit) : plainView(unit);
}

function barView(unit: Unit): ProgressView {
  const bars = new cliProgress.MultiBar({
    format: "{label} {bar} {amount}",
    clearOnComplete: false,
    hideCursor: true,
    barsize: 30,
    autopadding: true,
    forceRedraw: true,
  }, cliProgress.Presets.shades_classic);
  const shown = new Map<string, ReturnType<typeof bars.create>>();
  return {
    update(label, done, total) {
      const amount = amountText(unit, done, total);
      const bar = shown.get(label) ?? bars.create(total ?? 1, 0, { label: label.padEnd(28), amount });
      shown.set(label, bar);
      bar.setTotal(Math.max(total ?? done, 1));
      bar.update(total === null ? 0 : Math.min(done, total), { amount });
    },
    finish(label) {
      const bar = shown.get(label);
      bar?.update(bar.getTotal());
      bar?.stop();
    },
    log: (line) => bars.log(`${line}\n`),
    stop: () => bars.stop(),
  };
}

function plainView(unit: Unit): ProgressView {
  const printedAt = new Map<string, number>();
  return {
    update(label, done, total) {
      const last = printedAt.get(label);
      if (last !== undefined && Date.now() - last < PLAIN_INTERVAL_MS) return;
      printedAt.set(label, Date.now());
      console.error(`${label}: ${amountText(unit, done, total)}`);
    },
    finish(label) {
      if (printedAt.has(label)) console.error(`${label}: done`);
    },
    log: (line) => console.error(line),
    stop() {},
  };
}

/** `12.3 of 60 MB`, `4,000 of 20,000 rows`; without the total where it is not known. */
export function amountText(unit: Unit, done: number, total: number | null): string {
  const amount = (value: number) =>
    unit === "bytes" ? `${(value / 1e6).toFixed(0)} MB` : `${value.toLocaleString("en-US")} rows`;
  return total === null ? amount(done) : `${amount(Math.min(done, total))} of ${amount(total)}`;
}
