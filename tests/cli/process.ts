/** Runs scripts as processes of their own, with the runtime that runs the tests. */
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** What a process that has ended left behind. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process that runs. */
export interface Running {
  /** Sends a signal. */
  kill(signal: "SIGTERM" | "SIGINT" | "SIGKILL"): void;
  readonly ended: Promise<Ended>;
  /** Goes away as the reader of stdout, once it has read so many characters. */
  closeStdoutAfter(characters: number): void;
  /** Resolves with the match when stderr has matched; rejects when the process ends before. */
  stderrMatches(pattern: RegExp): Promise<RegExpExecArray>;
}

const DEADLINE_MS = 30_000;

/** The permissions that README names for the program. */
const PERMISSIONS = [
  "--allow-net",
  "--allow-env",
  "--allow-read",
  "--allow-write",
  "--allow-sys=osRelease,hostname",
];

/**
 * Starts a script.
 *
 * @param script relative to this folder
 * @param settings `env` is the whole environment; `input` is given on stdin
 */
export function start(
  script: string,
  args: readonly string[],
  settings: { readonly env?: Record<string, string>; readonly cwd?: string; readonly input?: string } = {},
): Running {
  const file = fileURLToPath(new URL(script, import.meta.url));
  const run = "Deno" in globalThis
    ? ["run", "--no-prompt", "--no-check", ...PERMISSIONS, file]
    : ["--no-env-file", file]; // Bun would read .env by itself
  const home = { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? "", NO_COLOR: "1" };
  const child = spawn(process.execPath, [...run, ...args], {
    env: { ...home, ...settings.env },
    cwd: settings.cwd,
  });
  let stdout = "";
  let stderr = "";
  const watchers = new Set<() => void>();
  child.stdin.on("error", () => {}); // it need not read what it is given
  child.stdin.end(settings.input ?? "");
  child.stdout.on("data", (chunk) => (stdout += String(chunk)));
  child.stderr.on("data", (chunk) => {
    stderr += String(chunk);
    watchers.forEach((watch) => watch());
  });
  // a test that fails must not leave it running, nor wait for ever
  const deadline = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
  const ended = new Promise<Ended>((resolve) =>
    child.once("close", (code) => {
      clearTimeout(deadline);
      resolve({ code, stdout, stderr });
    })
  );
  return {
    // Not child.kill: after it Deno 2.9 reports no exit code, whatever the process made of the signal.
    kill: (signal) => {
      if (child.pid !== undefined) process.kill(child.pid, signal);
    },
    ended,
    closeStdoutAfter: (characters) => {
      child.stdout.on("data", () => {
        if (stdout.length >= characters) child.stdout.destroy();
      });
    },
    stderrMatches: (pattern) =>
      new Promise((resolve, reject) => {
        const watch = () => {
          const match = pattern.exec(stderr);
          if (match === null) return;
          watchers.delete(watch);
          resolve(match);
        };
        watchers.add(watch);
        watch();
        ended.then(() => reject(new Error(`ended without ${pattern}:\n${stderr}`)));
      }),
  };
}

/** Runs `pgsync` with arguments to its end. */
export function pgsync(args: readonly string[], settings: Parameters<typeof start>[2] = {}): Promise<Ended> {
  return start("../../cli.ts", args, settings).ended;
}
