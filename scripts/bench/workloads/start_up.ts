/** Workload h: how soon the program is there, and what it takes while nothing happens. */
import { statSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { Bench, Workload } from "../bench.ts";
import type { Follower } from "../candidates/candidate.ts";
import { startDaemon } from "../candidates/daemon.ts";
import type { Pgsync } from "../candidates/pgsync.ts";
import type { Dataset } from "../data/dataset.ts";
import { median } from "../measure/statistics.ts";
import { atMost, figureOf, type Measurement } from "../result.ts";
import type { Servers } from "../servers.ts";

const STARTS = 10;
const IDLE_S = 30;
/** What is left of the start is over. */
const SETTLE_MS = 3_000;
const CASE = "start and idle";
const READY = "process → ready on an existing slot, ms";
const RSS = "idle RSS, MB";
const CPU = "idle CPU, %";

export const startUp: Workload = {
  letter: "h",
  name: "startup",
  title: "Start-up, idle memory and CPU, size",
  async run(bench) {
    const dataset = bench.bookshop;
    const servers = await bench.servers(dataset);
    const pgsync = bench.pgsync(servers, dataset);
    await bench.load(servers, pgsync, dataset, "load");
    const { executable } = bench.options;
    const measurements: Measurement[] = [{
      case: CASE,
      candidate: pgsync.name,
      figures: {
        ...await starts(pgsync, bench.scaled(STARTS, 3)),
        ...await idle(bench, pgsync),
        ...(executable === null ? {} : { "size of the executable, MB": statSync(executable).size / 1e6 }),
      },
    }];
    await pgsync.clear();
    const python = await idlePython(bench, servers, dataset);
    const of = (figure: string) => figureOf(measurements, CASE, pgsync.name, figure);
    return {
      measurements: [...measurements, ...python],
      verdicts: [
        ...atMost("ready on an existing slot within 120 ms", of(READY), 120, " ms"),
        ...atMost("idle RSS at most 80 MB", of(RSS), 80, " MB"),
        ...atMost("idle CPU at most 0.5%", of(CPU), 0.5, "%"),
      ],
    };
  },
};

/** Starts the program again and again on the slot and index that are there. */
async function starts(pgsync: Pgsync, count: number): Promise<Record<string, number>> {
  const firstLines: number[] = [];
  const readies: number[] = [];
  for (let start = 0; start < count; start++) {
    const daemon = await startDaemon(pgsync);
    firstLines.push(await daemon.firstLineMs);
    readies.push(daemon.readyMs);
    await daemon.stop();
  }
  return { "process → first log line, ms": median(firstLines), [READY]: median(readies) };
}

/** Its memory and CPU, and those of its helpers, while nothing is changed. */
async function idle(bench: Bench, follower: Follower): Promise<Record<string, number>> {
  const following = await follower.follow();
  await delay(SETTLE_MS);
  const measuring = following.measure();
  await delay(bench.scaled(IDLE_S, 5) * 1_000);
  const resident = following.resident();
  const { seconds, cpu, helperCpu } = await measuring.stop();
  await following.stop();
  bench.options.log(`${CASE}: ${follower.name} ${(resident / 1e6).toFixed(0)} MB`);
  return { [RSS]: resident / 1e6, [CPU]: 100 * (cpu + helperCpu) / seconds };
}

async function idlePython(bench: Bench, servers: Servers, dataset: Dataset): Promise<Measurement[]> {
  const python = bench.python(servers, dataset);
  if (python === null) return [];
  await bench.load(servers, python, dataset, "load");
  const figures = await idle(bench, python);
  await python.clear();
  return [{ case: CASE, candidate: python.name, figures }];
}
