/** Shows how a comparison goes on: a bar on a terminal, otherwise a line now and then. */
import { getLogger } from "@logtape/logtape";
import type { SingleBar } from "cli-progress";
import type { VerifyProgress } from "../verify/verification.ts";
import { Bars } from "./bars.ts";
import { formatBytes, formatCount, formatDuration } from "../status/figures.ts";
import { RateMeter } from "../status/rate.ts";

const logger = getLogger(["pgsync", "progress"]);

/** How often the bar is given new figures. */
const BAR_INTERVAL_MS = 250;

/** How the progress of a comparison is shown. */
export interface VerifyProgressView {
  /** Takes note of the figures. */
  observe(progress: VerifyProgress): void;
  /** An index is done: what is printed next stands alone. */
  done(): void;
  /** Ends the showing. */
  stop(): void;
}

/**
 * Starts showing progress.
 *
 * @param settings `bars`: stderr is a terminal and the log is for people; `lineSeconds`: seconds between two lines
 */
export function startVerifyProgress(
  settings: { readonly bars: boolean; readonly lineSeconds: number },
): VerifyProgressView {
  let now: VerifyProgress | null = null;
  let meter = new RateMeter(30_000);
  let step = "";
  const bar = settings.bars ? new Bar() : null;
  const show = () => {
    if (now === null) return;
    const figures = verifyFigures(now);
    meter.add(performance.now(), figures.value);
    const left = meter.secondsTo(figures.total);
    const timing = {
      rate: formatCount(meter.perSecond()),
      left: left === null ? "?" : formatDuration(left),
    };
    if (bar === null) printLine(now, figures, timing);
    else bar.draw({ ...figures, ...timing, index: now.index });
  };
  const timer = setInterval(show, settings.bars ? BAR_INTERVAL_MS : settings.lineSeconds * 1000);
  return {
    observe(progress) {
      const sameStep = `${progress.index} ${progress.listed > 0}`;
      if (sameStep !== step) meter = new RateMeter(30_000);
      step = sameStep;
      now = progress;
      if (meter.perSecond() === 0) meter.add(performance.now(), verifyFigures(progress).value);
    },
    done() {
      now = null;
      bar?.stop();
    },
    stop() {
      clearInterval(timer);
      bar?.stop();
    },
  };
}

/** What is done and what there is to do. */
export interface VerifyFigures {
  readonly what: string;
  readonly value: number;
  readonly total: number;
  /** What else is to be told, with a comma before it; empty where nothing is. */
  readonly more: string;
}

/** The figures of the step that a comparison is at. */
function verifyFigures(progress: VerifyProgress): VerifyFigures {
  const { phase, compared, listed, estimate, candidates, behindBytes } = progress;
  const step = listed > 0
    ? { what: "looked up", value: listed, total: Math.max(estimate, compared, listed) }
    : { what: "compared", value: compared, total: Math.max(estimate, compared) };
  const seeming = candidates === 0 ? "" : `, ${formatCount(candidates)} to be looked at again`;
  const more = phase === "waiting"
    ? `${seeming}; waiting for the stream, ${formatBytes(behindBytes)} behind`
    : phase === "repairing"
    ? "; repairing"
    : seeming;
  return { ...step, more };
}

function printLine(
  { index }: VerifyProgress,
  { what, value, total, more }: VerifyFigures,
  { rate, left }: { readonly rate: string; readonly left: string },
): void {
  logger.info(
    "{index}: {value} of about {total} documents {what} ({percent}%), {rate}/s, {left} left{more}",
    {
      index,
      value: formatCount(value),
      total: formatCount(total),
      what,
      percent: total === 0 ? "100" : String(Math.floor(100 * value / total)),
      rate,
      left,
      more,
    },
  );
}

class Bar {
  #shown: { readonly bars: Bars; readonly bar: SingleBar } | null = null;

  draw({ value, total, ...payload }: VerifyFigures & Record<"index" | "rate" | "left", string>): void {
    this.#shown ??= this.#start(payload);
    this.#shown.bar.setTotal(Math.max(1, total));
    this.#shown.bar.update(value, payload);
  }

  stop(): void {
    this.#shown?.bars.stop();
    this.#shown = null;
  }

  #start(payload: object): { readonly bars: Bars; readonly bar: SingleBar } {
    const bars = new Bars(
      "{index} [{bar}] {percentage}% | {value} of {total} {what} | {rate}/s | {left} left{more}",
    );
    return { bars, bar: bars.add(payload) };
  }
}
