/** What processes have used, as Linux tells it in /proc. */
import { readdirSync, readFileSync } from "node:fs";
import { isErrorCode } from "../../servers/process.ts";

/** Clock ticks a second of /proc's times; 100 on every Linux that Deno runs on (USER_HZ). */
const TICKS_A_SECOND = 100;

/** The times of a process, in seconds of CPU, user and system together. */
interface Times {
  readonly parent: number;
  readonly own: number;
  /** Of its children that have ended and were waited for. */
  readonly endedChildren: number;
}

/** Seconds of CPU that a running process has used so far; 0 where it is gone. */
export function cpuOf(pid: number): number {
  return timesOf(pid)?.own ?? 0;
}

/** Seconds of CPU of a process and all its children, those included that have ended. */
export function cpuOfFamily(pid: number): number {
  const root = timesOf(pid);
  if (root === null) return 0;
  const living = processes().map(timesOf).filter((times) => times?.parent === pid);
  return living.reduce((sum, times) => sum + (times?.own ?? 0), root.own + root.endedChildren);
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

/** Resident memory of a process in bytes: now, and the most that it ever had. Null where it is gone. */
export function memoryOf(pid: number): { readonly resident: number; readonly peak: number } | null {
  const text = read(`/proc/${pid}/status`);
  const kilobytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text ?? "")?.[1]);
  const [resident, peak] = [kilobytes("VmRSS") * 1024, kilobytes("VmHWM") * 1024];
  return Number.isNaN(resident) || Number.isNaN(peak) ? null : { resident, peak };
}

function processes(): number[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
}

function timesOf(pid: number | "self"): Times | null {
  const text = read(`/proc/${pid}/stat`);
  if (text === null) return null;
  // The name of the program stands in brackets and may hold anything; the fourth field is the first number after it.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const field = (number: number) => Number(fields[number - 3]);
  return {
    parent: field(4),
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
