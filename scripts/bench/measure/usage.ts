/** What processes have used, as Linux tells it in /proc. */
import { readdirSync, readFileSync } from "node:fs";
import { isErrorCode } from "../../servers/process.ts";

/** Clock ticks a second of /proc's times; 100 on every Linux that Deno runs on (USER_HZ). */
const TICKS_A_SECOND = 100;

/** The times of a process, in seconds of CPU, user and system together. */
interface Times {
  readonly own: number;
  /** Of its children that have ended and were waited for. */
  readonly endedChildren: number;
}

/** Memory of a process or a family of them, in bytes. */
export interface Memory {
  readonly resident: number;
  /** The most that it ever had; of a family, what it has now. */
  readonly peak: number;
}

/** Seconds of CPU that a running process has used so far; 0 where it is gone. */
export function cpuOf(pid: number): number {
  return timesOf(pid)?.own ?? 0;
}

/** Seconds of CPU of a process and all below it, those included that have ended and were waited for. */
export function cpuOfFamily(pid: number): number {
  return familyOf(pid).map(timesOf).reduce(
    (sum, times) => sum + (times?.own ?? 0) + (times?.endedChildren ?? 0),
    0,
  );
}

/**
 * Seconds of CPU of all children of this process that have ended. The difference over the life of one child is exactly
 * what that child used, as long as no other child ends meanwhile.
 */
export function cpuOfEndedChildren(): number {
  return timesOf("self")?.endedChildren ?? 0;
}

/** Seconds of CPU of everything on this machine, ours or not. */
export function cpuOfMachine(): number {
  // https://docs.kernel.org/filesystems/proc.html: user nice system idle iowait irq softirq steal
  const line = readFileSync("/proc/stat", "latin1").split("\n", 1)[0] ?? "";
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / TICKS_A_SECOND;
}

/** Resident memory of a process. Null where it is gone. */
export function memoryOf(pid: number): Memory | null {
  const text = read(`/proc/${pid}/status`);
  const [resident, peak] = [bytes(text, "VmRSS"), bytes(text, "VmHWM")];
  return Number.isNaN(resident) || Number.isNaN(peak) ? null : { resident, peak };
}

/**
 * Resident memory of a process and all below it. What they share, PostgreSQL's buffers or a program's own pages, is
 * counted once: as much as the one has that has most of it. Null where all are gone.
 */
export function memoryOfFamily(pid: number): Memory | null {
  const family = familyOf(pid);
  if (family.length === 1) return memoryOf(pid);
  const parts = family.map((member) => read(`/proc/${member}/status`)).map((text) =>
    ["RssAnon", "RssFile", "RssShmem"].map((name) => bytes(text, name))
  ).filter((part) => !part.some(Number.isNaN));
  if (parts.length === 0) return null;
  const of = (place: number) => parts.map((part) => part[place] ?? 0);
  const resident = of(0).reduce((sum, anonymous) => sum + anonymous, 0) + Math.max(...of(1)) +
    Math.max(...of(2));
  return { resident, peak: resident };
}

/** A process and all that descend from it and live. */
function familyOf(pid: number): number[] {
  const children = threadsOf(pid).flatMap((thread) =>
    (read(`/proc/${pid}/task/${thread}/children`) ?? "").split(" ").filter((child) => child !== "").map(
      Number,
    )
  );
  return [pid, ...children.flatMap(familyOf)];
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch (error) {
    if (isErrorCode(error, "ENOENT") || isErrorCode(error, "ESRCH")) return [];
    throw error;
  }
}

/** A figure of /proc/<pid>/status; NaN where it is not there, as of a process that has ended. */
function bytes(status: string | null, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status ?? "")?.[1]) * 1024;
}

function timesOf(pid: number | "self"): Times | null {
  const text = read(`/proc/${pid}/stat`);
  if (text === null) return null;
  // The name of the program stands in brackets and may hold anything; the third field is the first behind it.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const field = (number: number) => Number(fields[number - 3]);
  return {
    own: (field(14) + field(15)) / TICKS_A_SECOND,
    endedChildren: (field(16) + field(17)) / TICKS_A_SECOND,
  };
}

/** A file of /proc, or null where the process is gone. */
function read(path: string): string | null {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    if (isErrorCode(error, "ENOENT") || isErrorCode(error, "ESRCH")) return null;
    throw error;
  }
}
