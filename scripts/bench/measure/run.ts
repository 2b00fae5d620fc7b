/** A stretch of time, with the clock and the accounts of all who take part. */
import { setInterval } from "node:timers/promises";
import { type ChildOptions, startChild } from "../../servers/process.ts";
import { median } from "./statistics.ts";
import { cpuOf, cpuOfEndedChildren, cpuOfFamily, cpuOfMachine, memoryOf, memoryOfFamily } from "./usage.ts";

/** What something has cost: seconds of CPU (user and system), and bytes of resident memory at the most. */
export interface Cost {
  /** From its start to its end, in seconds. */
  readonly seconds: number;
  readonly cpu: number;
  readonly peakRss: number;
  readonly postgresCpu: number;
  /** Of all its processes, with what they share counted once. */
  readonly postgresPeakRss: number;
  readonly searchCpu: number;
  readonly searchPeakRss: number;
  /** Of a further server that the candidate needs, PGSync's Redis; 0 where it needs none. */
  readonly helperCpu: number;
  readonly helperPeakRss: number;
  /** Of everything else on the machine, the measuring included: noise, where it is not small. */
  readonly otherCpu: number;
}

/** The processes whose accounts are kept. */
export interface Accounted {
  /** The postmaster. */
  postgresPid(): number;
  readonly searchPid: number;
}

/** The candidate's own processes. */
export interface Subject {
  readonly pid: number;
  readonly helperPid?: number;
}

/** An account that is being kept. */
export interface Measuring {
  /** Ends it. @param end the moment at which the work was done, by `performance.now()`; now, when absent */
  stop(end?: number): Promise<Cost>;
}

/** VmHWM never falls, so of single processes only growth within the last interval is missed. */
const SAMPLE_MS = 50;
/** Of the servers, which do not end. */
const SERVER_SAMPLE_MS = 250;

/** Keeps the account of processes that live from before the work until after it. */
export function startMeasuring(subject: Subject, servers: Accounted): Measuring {
  return account(servers, subject, () => cpuOfFamily(subject.pid));
}

/**
 * Runs a process from its start to its end and measures it. No other child of ours may end meanwhile.
 *
 * @throws Error with its output where it does not exit with 0
 */
export async function measure(
  command: ChildOptions,
  servers: Accounted,
  helpers: Pick<Subject, "helperPid"> = {},
): Promise<Cost> {
  // Exact, also for the last moments of a process.
  const cpuBefore = cpuOfEndedChildren();
  const started = performance.now();
  const child = await startChild(command);
  const measuring = account(
    servers,
    { ...helpers, pid: child.pid },
    () => cpuOfEndedChildren() - cpuBefore,
    started,
  );
  const { code } = await child.exited;
  const cost = await measuring.stop();
  if (code !== 0) throw new Error(`${command.command} ended with code ${code}:\n${child.output()}`);
  return cost;
}

function account(
  servers: Accounted,
  subject: Subject,
  subjectCpu: () => number,
  started = performance.now(),
): Measuring {
  const postgres = servers.postgresPid();
  const { pid, helperPid } = subject;
  const cpu = () => ({
    cpu: subjectCpu(),
    postgresCpu: cpuOfFamily(postgres),
    searchCpu: cpuOf(servers.searchPid),
    helperCpu: helperPid === undefined ? 0 : cpuOf(helperPid),
    machine: cpuOfMachine(),
  });
  const before = cpu();
  const ended = new AbortController();
  const peaks = [
    peakOf(() => memoryOfFamily(pid)?.peak, SAMPLE_MS, ended.signal),
    peakOf(() => memoryOfFamily(postgres)?.peak, SERVER_SAMPLE_MS, ended.signal),
    peakOf(() => memoryOf(servers.searchPid)?.resident, SERVER_SAMPLE_MS, ended.signal),
    peakOf(
      () => helperPid === undefined ? 0 : memoryOf(helperPid)?.resident,
      SERVER_SAMPLE_MS,
      ended.signal,
    ),
  ];
  return {
    async stop(end = performance.now()) {
      const after = cpu();
      ended.abort();
      const [peakRss = NaN, postgresPeakRss = NaN, searchPeakRss = NaN, helperPeakRss = NaN] = await Promise
        .all(peaks);
      const spent = {
        cpu: after.cpu - before.cpu,
        postgresCpu: after.postgresCpu - before.postgresCpu,
        searchCpu: after.searchCpu - before.searchCpu,
        helperCpu: after.helperCpu - before.helperCpu,
      };
      const known = Object.values(spent).reduce((sum, each) => sum + each, 0);
      return {
        seconds: (end - started) / 1000,
        ...spent,
        ...{ peakRss, postgresPeakRss, searchPeakRss, helperPeakRss },
        otherCpu: Math.max(0, after.machine - before.machine - known),
      };
    },
  };
}

/** The median of each figure by itself. */
export function medianCost(rounds: readonly Cost[]): Cost {
  const of = (key: keyof Cost) => median(rounds.map((cost) => cost[key]));
  return {
    seconds: of("seconds"),
    cpu: of("cpu"),
    peakRss: of("peakRss"),
    postgresCpu: of("postgresCpu"),
    postgresPeakRss: of("postgresPeakRss"),
    searchCpu: of("searchCpu"),
    searchPeakRss: of("searchPeakRss"),
    helperCpu: of("helperCpu"),
    helperPeakRss: of("helperPeakRss"),
    otherCpu: of("otherCpu"),
  };
}

/** An equal part of the time and the CPU; memory is what it is. */
export function partOfCost(cost: Cost, parts: number): Cost {
  return {
    ...cost,
    seconds: cost.seconds / parts,
    cpu: cost.cpu / parts,
    postgresCpu: cost.postgresCpu / parts,
    searchCpu: cost.searchCpu / parts,
    helperCpu: cost.helperCpu / parts,
    otherCpu: cost.otherCpu / parts,
  };
}

/** The CPU of one after the other, and the most of the memory that any has taken. */
export function sumOfCosts(costs: readonly Cost[]): Cost {
  const sum = (key: keyof Cost) => costs.reduce((total, cost) => total + cost[key], 0);
  const most = (key: keyof Cost) => Math.max(...costs.map((cost) => cost[key]));
  return {
    seconds: sum("seconds"),
    cpu: sum("cpu"),
    peakRss: most("peakRss"),
    postgresCpu: sum("postgresCpu"),
    postgresPeakRss: most("postgresPeakRss"),
    searchCpu: sum("searchCpu"),
    searchPeakRss: most("searchPeakRss"),
    helperCpu: sum("helperCpu"),
    helperPeakRss: most("helperPeakRss"),
    otherCpu: sum("otherCpu"),
  };
}

async function peakOf(look: () => number | undefined, everyMs: number, signal: AbortSignal): Promise<number> {
  let peak = look() ?? 0;
  try {
    for await (const _ of setInterval(everyMs, undefined, { signal })) peak = Math.max(peak, look() ?? 0);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return peak;
}
