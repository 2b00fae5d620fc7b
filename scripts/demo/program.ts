/** pgsync as a child process: from the sources under Deno, or the executable. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { PROJECT } from "../project.ts";
import { freePort } from "../servers/ports.ts";
import { Advice, type Child, startChild, temporaryFolder } from "../servers/process.ts";

/** The permissions that pgsync needs under Deno. */
const PERMISSIONS = [
  "--allow-net",
  "--allow-env",
  "--allow-read",
  "--allow-write",
  "--allow-sys=osRelease,hostname",
];
const READY_TIMEOUT_MS = 10 * 60_000;

export interface ProgramOptions {
  /** The executable; null to run the sources. */
  readonly executable: string | null;
  /** The schema file. */
  readonly config: string;
  /** PostgreSQL, as PG_URL. */
  readonly postgresUrl: string;
  readonly searchUrl: string;
  /** Receives each line that it writes. */
  readonly onLine?: (line: string) => void;
}

/** A running pgsync. */
export interface Program {
  /** Of the status page; without a slash at the end. */
  readonly url: string;
  readonly child: Child;
  /** Resolves when `/ready` answers 200. Tells how many documents are loaded meanwhile. @throws Advice where it ends instead */
  ready(onProgress: (done: number, total: number) => void): Promise<void>;
  /** Memory in bytes, where the system tells it. */
  memory(): number | null;
}

/** Starts `pgsync --daemon --bootstrap` with a checkpoint folder of its own, in a working directory without `.env`. */
export async function startProgram(options: ProgramOptions): Promise<Program> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const folder = temporaryFolder("pgsync");
  const [command, ...prefix] = options.executable === null
    ? [process.execPath, "run", "--no-prompt", ...PERMISSIONS, join(PROJECT, "cli.ts")]
    : [options.executable];
  if (command === undefined) throw new Error("no command");
  const child = await startChild({
    command,
    args: [...prefix, "--config", options.config, "--daemon", "--bootstrap", "--listen", `127.0.0.1:${port}`],
    cwd: folder,
    env: {
      ...inherited(),
      PG_URL: options.postgresUrl,
      ELASTICSEARCH_URL: options.searchUrl,
      CHECKPOINT_PATH: folder,
    },
    ...(options.onLine ? { onLine: options.onLine } : {}),
  });
  return {
    url,
    child,
    async ready(onProgress) {
      const deadline = Date.now() + READY_TIMEOUT_MS;
      let reason = "it does not answer";
      while (Date.now() < deadline) {
        if (child.exit() !== null) throw new Advice(`pgsync ended before it was ready:\n${child.output()}`);
        const answer = await ask(`${url}/ready`);
        if (answer?.status === 200) return;
        if (answer !== null) {
          reason = answer.text.trim();
          await reportLoad(url, onProgress);
        }
        await delay(50);
      }
      throw new Advice(`pgsync was not ready in time: ${reason}\n${child.output()}`);
    },
    memory: () => residentBytes(child.pid),
  };
}

/** Our environment without settings of pgsync, but with those for a search engine of the user's: passwords, certificates. */
function inherited(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      value === undefined || /^(PG|SCHEMA|CHECKPOINT_PATH)/.test(name) ? [] : [[name, value]]
    ),
  );
}

/** What of `/status` is needed here. */
const STATUS = z.object({
  databases: z.array(z.object({
    indices: z.array(z.object({ load: z.object({ documents: z.number(), estimate: z.number() }) })),
  })),
});

async function reportLoad(url: string, onProgress: (done: number, total: number) => void): Promise<void> {
  const answer = await ask(`${url}/status`);
  const status = answer?.status === 200 ? STATUS.parse(JSON.parse(answer.text)) : { databases: [] };
  const loads = status.databases.flatMap(({ indices }) => indices.map(({ load }) => load));
  const sum = (of: "documents" | "estimate") => loads.reduce((total, load) => total + load[of], 0);
  if (loads.length > 0) onProgress(sum("documents"), sum("estimate"));
}

/** The answer, or null while nobody listens. */
async function ask(url: string): Promise<{ status: number; text: string } | null> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    return { status: response.status, text: await response.text() };
  } catch {
    // Not listening yet; that the process ended is seen by the caller.
    return null;
  }
}

function residentBytes(pid: number): number | null {
  if (process.platform !== "linux") return null;
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return kilobytes === undefined ? null : Number(kilobytes) * 1024;
}
