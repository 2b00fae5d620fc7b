/** Shows how a run goes on: a bar for each index while it loads, on a terminal; otherwise a line now and then. */
import { getLogger } from "@logtape/logtape";
import type { SingleBar } from "cli-progress";
import type { IndexStatus, RunStatus, SyncEvent, SyncStatus } from "../status/status.ts";
import { Bars } from "./bars.ts";
import { formatBytes, formatCount, formatDuration } from "../status/figures.ts";
import { RateMeter } from "../status/rate.ts";

const logger = getLogger(["pgsync", "progress"]);

/** How often the bars are given new figures. */
const BAR_INTERVAL_MS = 250;

/** How a run's progress is shown. */
export interface Progress {
  /** Takes note of an event. */
  observe(event: SyncEvent): void;
  /** Ends the showing; bars that stand are left as they are. */
  stop(): void;
}

/**
 * Starts showing progress.
 *
 * @param status the run's status
 * @param settings `bars`: stderr is a terminal and the log is for people; `lineSeconds`: seconds between two lines
 */
export function startProgress(
  status: () => RunStatus,
  settings: { readonly bars: boolean; readonly lineSeconds: number },
): Progress {
  const lines = new ProgressLines(status, settings.bars);
  const bars = settings.bars ? new ProgressBars(status) : null;
  const timers = [setInterval(() => lines.print(), settings.lineSeconds * 1000)];
  if (bars !== null) timers.push(setInterval(() => bars.draw(), BAR_INTERVAL_MS));
  return {
    observe: (event) => {
      if (event.type === "phase") logger.info("{phase}", { phase: event.phase });
      if (event.type === "load") lines.loadChanged(event.index, event.load);
    },
    stop: () => {
      for (const timer of timers) clearInterval(timer);
      bars?.stop();
    },
  };
}

/** The lines: how far each load is, and what was written since the line before. */
class ProgressLines {
  readonly #meters = new Map<string, RateMeter>();
  readonly #said = new Map<string, string>();
  readonly #done = new Set<string>();

  constructor(private readonly status: () => RunStatus, private readonly bars: boolean) {}

  loadChanged(index: string, load: IndexStatus["load"]): void {
    if (load.state === "running") this.#meter(index).add(performance.now(), load.documents);
    if (load.state !== "done" || this.#done.has(index)) return;
    this.#done.add(index);
    const seconds = load.startedAt === null || load.finishedAt === null
      ? null
      : (load.finishedAt.getTime() - load.startedAt.getTime()) / 1000;
    logger.info("load of {index} done: {documents} documents{time}", {
      index,
      documents: formatCount(load.documents),
      time: seconds === null ? "" : ` in ${formatDuration(seconds)}`,
    });
  }

  #meter(index: string): RateMeter {
    const meter = this.#meters.get(index) ?? new RateMeter(30_000);
    this.#meters.set(index, meter);
    return meter;
  }

  print(): void {
    for (const database of this.status().databases) {
      for (const index of database.indices) {
        if (index.load.state === "running") {
          if (!this.bars) this.#printLoad(index);
        } else this.#printStream(database, index);
      }
    }
  }

  #printLoad({ index, load }: IndexStatus): void {
    const meter = this.#meter(index);
    meter.add(performance.now(), load.documents);
    const figures = loadFigures(load, meter);
    logger.info(
      "load of {index}: {documents} of about {estimate} documents ({percent}%), {rate}/s, {left} left",
      {
        index,
        ...figures,
      },
    );
  }

  /** Says nothing where nothing has changed since the line before. */
  #printStream(
    { database, stream, phase }: SyncStatus,
    { index, indexed, deleted, deadLetters }: IndexStatus,
  ): void {
    const lag = stream.server - stream.confirmed;
    const facts = `${indexed} ${deleted} ${deadLetters} ${stream.connected} ${phase}`;
    if (this.#said.get(index) === facts) return;
    this.#said.set(index, facts);
    logger.info("Sync {database}:{index} {phase}: {indexed} indexed, {deleted} deleted, {lag} behind{dead}", {
      database,
      index,
      phase: stream.connected ? phase : `${phase}, not connected`,
      indexed: formatCount(indexed),
      deleted: formatCount(deleted),
      lag: formatBytes(Math.max(0, Number(lag))),
      dead: deadLetters === 0 ? "" : `, ${formatCount(deadLetters)} dead letters`,
    });
  }
}

/** The bars, one for each index that is loading. */
class ProgressBars {
  #bars: Bars | null = null;
  readonly #shown = new Map<string, { readonly bar: SingleBar; readonly meter: RateMeter }>();

  constructor(private readonly status: () => RunStatus) {}

  draw(): void {
    const indices = this.status().databases.flatMap((database) => database.indices);
    for (const { index, load } of indices) {
      if (load.state === "pending") continue;
      let shown = this.#shown.get(index);
      if (shown === undefined) {
        if (load.state === "done") continue; // it was so at the start
        this.#bars ??= new Bars(
          "{index} [{bar}] {percentage}% | {value} of {total} | {rate}/s | {left} left",
        );
        shown = { bar: this.#bars.add({ index, rate: "0", left: "?" }), meter: new RateMeter() };
        this.#shown.set(index, shown);
      }
      shown.meter.add(performance.now(), load.documents);
      const { rate, left } = loadFigures(load, shown.meter);
      shown.bar.setTotal(load.state === "done" ? load.documents : Math.max(load.estimate, load.documents, 1));
      shown.bar.update(load.documents, { index, rate, left: load.state === "done" ? "0 s" : left });
    }
    if (this.#shown.size > 0 && indices.every(({ load }) => load.state === "done")) this.stop();
  }

  stop(): void {
    this.#bars?.stop();
    this.#bars = null;
    this.#shown.clear();
  }
}

/** The figures of a running load, as they are shown. */
function loadFigures(load: IndexStatus["load"], meter: RateMeter) {
  const goal = Math.max(load.estimate, load.documents);
  const left = meter.secondsTo(goal);
  return {
    documents: formatCount(load.documents),
    estimate: formatCount(goal),
    percent: goal === 0 ? "100" : String(Math.floor(100 * load.documents / goal)),
    rate: formatCount(meter.perSecond()),
    left: left === null ? "?" : formatDuration(left),
  };
}
