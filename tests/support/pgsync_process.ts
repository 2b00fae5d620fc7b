/**
 * `pgsync` as a process of its own, to be killed, stopped and asked. By default the sources under Deno; the executable
 * that PGSYNC_TEST_PROGRAM names, where it names one.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import process from "node:process";
import { PROJECT } from "../../scripts/project.ts";
import {
  type Child,
  type Exit,
  removeFolder,
  startChild,
  temporaryFolder,
} from "../../scripts/servers/process.ts";
import { type StatusJson, statusJson } from "../../src/server/status_json.ts";
import { eventually } from "./eventually.ts";

/** The permissions that the program needs under Deno. */
const PERMISSIONS = [
  "--allow-net",
  "--allow-env",
  "--allow-read",
  "--allow-write",
  "--allow-sys=osRelease,hostname",
];

/** How a run of `pgsync` ended. */
export interface Ended extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

/** A running `pgsync`. */
export interface PgsyncProcess {
  readonly pid: number;
  /** Without a limit of time; `exit` has one. */
  readonly ended: Promise<Ended>;
  stderr(): string;
  /** Waits for the end. After the limit (60 s by default) it fails, with what stands on stderr. */
  exit(limitMs?: number): Promise<Ended>;
  /** Sends a signal and waits for the end, as `exit`. */
  end(signal: "SIGTERM" | "SIGINT" | "SIGKILL"): Promise<Ended>;
  /** Sends a signal. */
  signal(name: NodeJS.Signals): void;
  /** GET of the status server: `/ready`, `/health`. Waits for the server to listen. */
  get(path: string): Promise<{ readonly status: number; readonly body: unknown }>;
  /** What `/status` tells. */
  status(): Promise<StatusJson>;
  /** Waits for a line on stderr. Fails at once when the process ends without one. */
  logged(pattern: RegExp, timeout?: number): Promise<RegExpExecArray>;
  /** Waits until `/ready` says 200. Fails at once when the process ends. */
  ready(timeout?: number): Promise<void>;
}

/** The surroundings of a process. */
export interface PgsyncSettings {
  /** Variables beside those of {@link PgsyncHome}; nothing of the test's own environment is passed on. */
  readonly env?: Readonly<Record<string, string>>;
  /** A program of the tests, an absolute path, to run in place of `pgsync`; it has all permissions. */
  readonly script?: string;
  /** Statements of a shell that becomes the program (`ulimit -f 128`). */
  readonly shell?: string;
}

/** A folder with a schema file and room for checkpoint files, and what every process started in it shares. */
export interface PgsyncHome {
  readonly folder: string;
  readonly schemaFile: string;
  /** The checkpoint file of a slot. */
  checkpointFile(slot: string): string;
  /** Starts `pgsync` with arguments; without a command it is `sync`. */
  start(args: readonly string[], settings?: PgsyncSettings): Promise<PgsyncProcess>;
  /** Runs it to its end. */
  run(args: readonly string[], settings?: PgsyncSettings): Promise<Ended>;
}

/** What the processes of a {@link PgsyncHome} share. */
export interface PgsyncHomeOptions {
  /** The schema file's content; written as JSON. A string is written as it is. */
  readonly schema: unknown;
  /** Of any database of the server; the documents name their own. */
  readonly postgresUrl: string;
  readonly searchUrl: string;
  /** An executable to run instead. */
  readonly executable?: string;
}

/** How long a run may take that ends by itself, a load included. */
const RUN_LIMIT_MS = 5 * 60_000;

const running = new Set<Child>();
const folders: string[] = [];

/** Makes a folder for runs with one schema file. All its processes are ended, and it is removed, at the end of the test file. */
export function pgsyncHome(
  { schema, postgresUrl, searchUrl, executable }: PgsyncHomeOptions,
): PgsyncHome {
  const folder = temporaryFolder("pgsync");
  folders.push(folder);
  const schemaFile = join(folder, "schema.json");
  writeFileSync(schemaFile, typeof schema === "string" ? schema : JSON.stringify(schema, null, 2));
  const shared = {
    PATH: process.env["PATH"] ?? "",
    HOME: process.env["HOME"] ?? folder,
    NO_COLOR: "1",
    PG_URL: postgresUrl,
    ELASTICSEARCH_URL: searchUrl,
    CHECKPOINT_PATH: folder,
    SCHEMA: schemaFile,
    PGSYNC_LISTEN: "127.0.0.1:0",
  };
  const start = async (args: readonly string[], settings: PgsyncSettings = {}) => {
    const command = executable === undefined ? program(settings.script) : [executable] as const;
    const inShell = settings.shell === undefined
      ? command
      : ["sh", "-c", `${settings.shell}; exec "$@"`, "sh", ...command] as const;
    return handle(await launch(inShell, args, { ...shared, ...settings.env }, folder));
  };
  return {
    folder,
    schemaFile,
    checkpointFile: (slot) => join(folder, `${slot}.checkpoint`),
    start,
    run: async (args, settings) => await (await start(args, settings)).exit(RUN_LIMIT_MS),
  };
}

interface Launched {
  readonly child: Child;
  readonly stdout: string[];
  readonly stderr: string[];
}

async function launch(
  [command, ...first]: readonly [string, ...string[]],
  args: readonly string[],
  env: Record<string, string>,
  cwd: string,
): Promise<Launched> {
  const stdout: string[] = [];
  const stderr: string[] = [];
  const child = await startChild({
    command,
    args: [...first, ...args],
    env,
    cwd,
    onLine: (line, stream) => (stream === "stdout" ? stdout : stderr).push(line),
  });
  running.add(child);
  void child.exited.then(() => running.delete(child));
  return { child, stdout, stderr };
}

function program(script?: string): readonly [string, ...string[]] {
  if (script !== undefined) {
    return [process.execPath, ..."Deno" in globalThis ? ["run", "-A", "--no-check"] : [], script];
  }
  const named = process.env["PGSYNC_TEST_PROGRAM"];
  if (named !== undefined && named !== "") return [named];
  const cli = join(PROJECT, "cli.ts");
  if (!("Deno" in globalThis)) return [process.execPath, cli];
  return [process.execPath, "run", "--no-prompt", "--no-check", ...PERMISSIONS, cli];
}

function handle({ child, stdout, stderr }: Launched): PgsyncProcess {
  const ended = child.exited.then((exit) => ({
    ...exit,
    stdout: stdout.join("\n"),
    stderr: stderr.join("\n"),
  }));
  /** As `eventually`, but gives up when the process has ended. */
  const patiently = async <T extends object>(
    check: () => T | false | Promise<T | false>,
    what: string,
    timeout: number,
  ): Promise<T> => {
    const found = await eventually<T | null | false>(async () => {
      // Looked at before the check, so that what it said last still counts.
      const gone = child.exit() !== null;
      try {
        const result = await check();
        return result === false && gone ? null : result;
      } catch (error) {
        if (gone) return null;
        throw error;
      }
    }, { what, timeout }).catch((error: Error) => {
      error.message += `; it has said:\n${stderr.join("\n")}`;
      throw error;
    });
    if (found !== null) return found;
    throw new Error(`pgsync has ended before ${what}:\n${stderr.join("\n")}`);
  };
  const self: PgsyncProcess = {
    pid: child.pid,
    ended,
    stderr: () => stderr.join("\n"),
    signal: child.signal,
    exit: (limitMs = 60_000) => {
      const { promise, reject } = Promise.withResolvers<never>();
      const fail = () =>
        reject(new Error(`pgsync has not ended within ${limitMs} ms:\n${stderr.join("\n")}`));
      const timer = setTimeout(fail, limitMs);
      return Promise.race([ended, promise]).finally(() => clearTimeout(timer));
    },
    end(signal) {
      child.signal(signal);
      return self.exit();
    },
    async get(path) {
      const [, url = ""] = await self.logged(/status at (http:[^\s"]+)/);
      const response = await fetch(new URL(path, url));
      return { status: response.status, body: await response.json() };
    },
    status: async () => statusJson.parse((await self.get("/status")).body),
    logged: (pattern, timeout = 20_000) =>
      patiently(() => pattern.exec(stderr.join("\n")) ?? false, `${pattern} stood on stderr`, timeout),
    async ready(timeout = 60_000) {
      await patiently(
        async () => {
          const answer = await self.get("/ready");
          if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
          return answer;
        },
        "/ready said 200",
        timeout,
      );
    },
  };
  return self;
}

after(async () => {
  await Promise.all([...running].map((child) => child.stop("SIGKILL")));
  for (const folder of folders) removeFolder(folder);
});
