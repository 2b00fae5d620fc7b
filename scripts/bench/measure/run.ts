/** A process from its start to its end, with the clock and the accounts of all who take part. */
import { setInterval } from "node:timers/promises";
import { type ChildOptions, startChild } from "../../servers/process.ts";
import type { Servers } from "../servers.ts";
import { cpuOf, cpuOfEndedChildren, cpuOfFamily, cpuOfMachine, memoryOf } from "./usage.ts";

/** What a process has cost. */
export interface Cost {
  /** From its start to its end, in seconds. */
  readonly seconds: number;
  /** Seconds of CPU, user and system. */
  readonly cpu: number;
  /** Most resident memory, in bytes. */
  readonly peakRss: number;
  readonly postgresCpu: number;
  readonly searchCpu: number;
  /** Of everything else on the machine, the measuring included: noise, where it is not small. */
  readonly otherCpu: number;
}

/** VmHWM never falls, so only growth within the last interval is missed. */
const SAMPLE_MS = 25;

/**
 * Runs a process and measures it. No other child of ours may end meanwhile.
 *
 * @throws Error with its output where it does not exit with 0
 */
export async function measure(command: ChildOptions, servers: Servers): Promise<Cost> {
  const accounts = () => ({
    process: cpuOfEndedChildren(),
    postgres: cpuOfFamily(servers.postgresPid()),
    search: cpuOf(servers.searchPid),
    machine: cpuOfMachine(),
    now: performance.now(),
  });
  const before = accounts();
  const child = await startChild(command);
  const sampling = new AbortController();
  const peak = peakOf(child.pid, sampling.signal);
  const { code } = await child.exited;
  const after = accounts();
  sampling.abort();
  if (code !== 0) throw new Error(`${command.command} ended with code ${code}:\n${child.output()}`);
  const cpu = after.process - before.process;
  const postgresCpu = after.postgres - before.postgres;
  const searchCpu = after.search - before.search;
  return {
    seconds: (after.now - before.now) / 1000,
    cpu,
    peakRss: await peak,
    postgresCpu,
    searchCpu,
    otherCpu: Math.max(0, after.machine - before.machine - cpu - postgresCpu - searchCpu),
  };
}

async function peakOf(pid: number, signal: AbortSignal): Promise<number> {
  let peak = 0;
  try {
    for await (const _ of setInterval(SAMPLE_MS, undefined, { signal })) peak = memoryOf(pid)?.peak ?? peak;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return peak;
}
