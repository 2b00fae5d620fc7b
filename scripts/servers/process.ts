/**
 * Child processes and temporary folders that never outlive us: they are stopped when the script ends, fails, or is
 * interrupted, and by the kernel (where it can) when the script itself is killed.
 */
import { type ChildProcess, spawn, type SpawnOptions, spawnSync } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import process from "node:process";

/** How a child ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process that we started and will stop. */
export interface Child {
  readonly pid: number;
  /** The newest output, both streams, at most 200 lines; for error messages. */
  output(): string;
  /** Resolves when the process has ended. Never rejects. */
  readonly exited: Promise<Exit>;
  /** How it ended, or null while it runs. */
  exit(): Exit | null;
  /** Sends a signal, SIGKILL to its children too; does nothing once the process has ended. */
  signal(signal: NodeJS.Signals): void;
  /**
   * Asks the process to end, waits, and kills it after `boundMs` (10,000 by default).
   * Resolves when it has ended.
   */
  stop(signal?: NodeJS.Signals, boundMs?: number): Promise<Exit>;
}

/** What to start, and how. */
export interface ChildOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment of the child; ours by default. */
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  /** Run it under {@link SERVER_USER} when we are root: PostgreSQL and Elasticsearch refuse root. */
  readonly unprivileged?: boolean;
  /** The signal that asks it to end; SIGTERM by default. */
  readonly stopSignal?: NodeJS.Signals;
  /** The signal that the kernel sends the child when our process dies. SIGTERM by default. */
  readonly parentDeathSignal?: "TERM" | "INT" | "QUIT";
  /** Its output goes where ours goes, and is not kept. */
  readonly inherit?: boolean;
  /** Receives each line of output as it comes. */
  readonly onLine?: (line: string, stream: "stdout" | "stderr") => void;
}

/** The user under which servers run when we are root: `nobody` on every Linux. */
export const SERVER_USER = { uid: 65534, gid: 65534 } as const;

/** Prefix of everything that we put into the folder for temporary files. */
const TEMPORARY_PREFIX = "pgsync-edge-";
const KEPT_LINES = 200;

const children = new Set<Child>();
const folders = new Set<string>();
const cleanups: (() => Promise<void>)[] = [];
/** From then on nothing is started: it would be left behind. */
let ending = false;

/** True when we run as root on a system that knows users. */
export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/**
 * Starts a process in a group of its own, so that Ctrl-C reaches only us and we decide the order in which things end.
 *
 * @throws Error where the command cannot be started
 */
export async function startChild(options: ChildOptions): Promise<Child> {
  if (ending) throw new Error(`${options.command} is not started: the script is ending`);
  const { command, args, settings } = withGuards(options);
  const child = spawn(command, args, {
    ...settings,
    stdio: options.inherit === true ? ["ignore", "inherit", "inherit"] : ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const handle = supervise(child, options);
  children.add(handle);
  void handle.exited.then(() => children.delete(handle));
  await new Promise<void>((started, failed) => {
    child.once("spawn", started);
    child.once("error", (cause) => failed(new Error(`cannot start ${options.command}`, { cause })));
  });
  return handle;
}

/**
 * Runs a command to its end and returns what it wrote to standard output.
 *
 * @throws Error with all of its output where it exits with another code than 0
 */
export async function runToEnd(options: ChildOptions): Promise<string> {
  const written: string[] = [];
  const onLine = (line: string, stream: "stdout" | "stderr") => {
    if (stream === "stdout") written.push(line);
    options.onLine?.(line, stream);
  };
  const child = await startChild({ ...options, onLine });
  const { code, signal } = await child.exited;
  if (code !== 0) {
    throw new Error(
      `${options.command} ${options.args.join(" ")} ended with ${
        signal ?? `exit code ${code}`
      }:\n${child.output()}`,
    );
  }
  return written.join("\n");
}

/**
 * Wraps the command so that it runs as the right user and dies with us. `setpriv` (util-linux) does both; without it the
 * user is set by spawn, and only {@link stopEverything} and the exit handler stop the child.
 *
 * The signal of `--pdeathsig` survives exec, so it reaches the launcher of Elasticsearch (a shell that becomes a JVM), which
 * then stops the server's own JVM.
 */
function withGuards(options: ChildOptions): { command: string; args: string[]; settings: SpawnOptions } {
  const settings: SpawnOptions = { env: options.env ?? process.env };
  if (options.cwd !== undefined) settings.cwd = options.cwd;
  const demote = options.unprivileged === true && isRoot();
  const guardian = setprivPath();
  if (guardian !== null) {
    const user = demote ? [`--reuid=${SERVER_USER.uid}`, `--regid=${SERVER_USER.gid}`, "--clear-groups"] : [];
    const guard = ["--pdeathsig", options.parentDeathSignal ?? "TERM", ...user, "--"];
    return { command: guardian, args: [...guard, options.command, ...options.args], settings };
  }
  if (demote) {
    settings.uid = SERVER_USER.uid;
    settings.gid = SERVER_USER.gid;
  }
  return { command: options.command, args: [...options.args], settings };
}

let setpriv: string | null | undefined;

/** The path of setpriv, or null. Busybox has one without --pdeathsig, so it is tried, not only looked up. */
function setprivPath(): string | null {
  setpriv ??= ["/usr/bin/setpriv", "/bin/setpriv"].find((path) =>
    existsSync(path) &&
    spawnSync(path, ["--pdeathsig", "TERM", "--", "true"], { stdio: "ignore" }).status === 0
  ) ?? null;
  return setpriv;
}

function supervise(child: ChildProcess, options: ChildOptions): Child {
  const lines: string[] = [];
  for (const stream of ["stdout", "stderr"] as const) {
    let rest = "";
    const take = (line: string) => {
      lines.push(line);
      if (lines.length > KEPT_LINES) lines.shift();
      options.onLine?.(line, stream);
    };
    child[stream]?.setEncoding("utf8");
    child[stream]?.on("data", (text: string) => {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) take(part);
    });
    child[stream]?.on("end", () => {
      if (rest !== "") take(rest);
      rest = "";
    });
  }
  let ended: Exit | null = null;
  // "close" comes after both streams have ended, so the output is whole. A grandchild that holds them open
  // must not keep us waiting, so "exit" followed by a moment is enough.
  const exited = new Promise<Exit>((resolveExit) => {
    const settle = (code: number | null, signal: NodeJS.Signals | null) => {
      ended ??= { code, signal };
      resolveExit(ended);
    };
    child.once("close", settle);
    child.once("exit", (code, signal) => {
      ended ??= { code, signal };
      setTimeout(settle, 500, code, signal).unref();
    });
    child.once("error", () => settle(127, null));
  });
  const signal = (name: NodeJS.Signals) => {
    if (ended !== null || child.pid === undefined) return;
    if (name === "SIGKILL") killWithChildren(child.pid);
    else killQuietly(child.pid, name);
  };
  return {
    pid: child.pid ?? -1,
    output: () => lines.join("\n"),
    exited,
    exit: () => ended,
    signal,
    async stop(name = options.stopSignal ?? "SIGTERM", boundMs = 10_000) {
      signal(name);
      const timer = setTimeout(() => signal("SIGKILL"), boundMs);
      try {
        return await exited;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** Sends a signal to a process that may have ended already. */
export function killQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!isErrorCode(error, "ESRCH")) throw error;
  }
}

/**
 * Kills a process and its children as if at one moment: a launcher would leave its server behind, for what cannot be handled cannot be passed
 * on. First the parent is stopped, so that it neither begins another child nor sees one die, and it goes last, so that no child sees it
 * gone: a backend of PostgreSQL's would tell its client.
 */
function killWithChildren(pid: number): void {
  killQuietly(pid, "SIGSTOP");
  for (const each of [...childrenOf(pid), pid]) killQuietly(each, "SIGKILL");
}

/** True when a process of that id exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !isErrorCode(error, "ESRCH");
  }
}

/** True for an error of the system with that code, for example `ENOENT`. */
export function isErrorCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

/** The processes whose parent is `pid`, by their ids. */
export function childrenOf(pid: number): number[] {
  const list = spawnSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" });
  return list.stdout.split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([child, parent]) => parent === pid && child !== undefined ? [child] : []);
}

/**
 * Makes an empty folder that the servers' user owns and can reach; it is removed at the end.
 * Folders that a killed process of ours left behind are removed on the way.
 */
export function temporaryFolder(name: string): string {
  const parent = isReachableByServers(tmpdir()) ? tmpdir() : "/tmp";
  removeAbandoned(parent);
  const folder = mkdtempSync(join(parent, `${TEMPORARY_PREFIX}${process.pid}-${name}-`));
  if (isRoot()) chownSync(folder, SERVER_USER.uid, SERVER_USER.gid);
  folders.add(folder);
  return folder;
}

/** Removes a folder made by {@link temporaryFolder}. */
export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  folders.delete(folder);
}

function removeAbandoned(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = new RegExp(`^${TEMPORARY_PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    const folder = join(parent, name);
    // Another user's is left alone. A server inside may still be on its way out: its postmaster.pid says so.
    if (existsSync(folder) && statSync(folder).uid === (isRoot() ? SERVER_USER.uid : process.getuid?.())) {
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    }
  }
}

/** True when the servers' user can pass through every folder above and into `folder`, the nearest one that exists. */
export function isReachableByServers(folder: string): boolean {
  if (!isRoot()) return true;
  for (let at = resolve(folder);; at = dirname(at)) {
    if (existsSync(at)) {
      const { mode, uid } = statSync(at);
      if ((mode & (uid === SERVER_USER.uid ? 0o100 : 0o001)) === 0) return false;
    }
    if (at === dirname(at)) return true;
  }
}

/** Has `cleanup` run by {@link stopEverything}, the newest first, before children are stopped. */
export function beforeTheEnd(cleanup: () => Promise<void>): void {
  cleanups.push(cleanup);
}

/** Runs what was given to {@link beforeTheEnd}, stops all children, newest first, and removes all temporary folders. */
export async function stopEverything(): Promise<void> {
  const failures: unknown[] = [];
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) {
    // One that fails, because the terminal is gone for example, must not keep the servers running.
    await cleanup().catch((error) => failures.push(error));
  }
  ending = true;
  for (const child of [...children].reverse()) await child.stop();
  for (const folder of folders) removeFolder(folder);
  if (failures.length > 0) throw failures[0];
}

/** The last resort, when nothing can be awaited any more. */
function killEverything(): void {
  if (children.size === 0 && folders.size === 0) return;
  for (const child of children) child.signal("SIGKILL");
  // It takes a moment until they are dead and write no more.
  if (children.size > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  for (const folder of folders) {
    try {
      removeFolder(folder);
    } catch {
      // A server that was killed this instant may still write; the next run removes what is left.
    }
  }
}

process.on("exit", killEverything);
// The end of a test file under `deno test`, where "exit" does not come.
globalThis.addEventListener?.("unload", killEverything);

/**
 * For scripts: runs `main` with what it started stopped at the end, whichever end that is: return, error, SIGINT, SIGTERM, SIGHUP.
 * A second signal does not wait. Sets the exit code: `main`'s result, 1 after an error (which is printed), 128 + n after a signal.
 */
export async function runScript(main: (interrupted: AbortSignal) => Promise<number>): Promise<never> {
  const interruption = new AbortController();
  let signalled = false;
  /** `main` has ended, or something has failed outside of it. */
  let over = false;
  for (const [signal, number] of [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1]] as const) {
    process.on(signal, () => {
      // A terminal that closes sends SIGHUP after Ctrl-C; only a person is impatient.
      if (signalled && signal === "SIGHUP") return;
      if (signalled) process.exit(128 + number);
      signalled = true;
      interruption.abort(new Error(signal));
      stopEverything().catch(report).finally(() => process.exit(128 + number));
    });
  }
  const fail = (error: unknown) => {
    // What breaks because we are being stopped is no news.
    if (signalled || over) return;
    over = true;
    report(error);
    stopEverything().catch(report).finally(() => process.exit(1));
  };
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);
  let code: number;
  try {
    code = await main(interruption.signal);
  } catch (error) {
    code = 1;
    if (!signalled && !over) report(error);
  }
  over = true;
  // The signal's handler ends the process with its own code.
  if (signalled) return await new Promise<never>(() => setInterval(() => {}, 60_000));
  await stopEverything();
  process.exit(code);
}

/** Operators read sentences; a stack is of use only where the fault is ours. */
function report(error: unknown): void {
  if (error instanceof Advice) console.error(error.message);
  else console.error(error);
}

/** An error that says what the reader can do; printed without its stack. */
export class Advice extends Error {
  override readonly name = "Advice";
}
