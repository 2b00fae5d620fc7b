/** Real search servers for the demo, the tests and the benchmark. */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { cached, cacheFolder } from "./cache.ts";
import { findCommand, findJava, type Java } from "./java.ts";
import {
  Advice,
  type Child,
  childrenOf,
  isErrorCode,
  isRoot,
  killQuietly,
  removeFolder,
  runToEnd,
  SERVER_USER,
  startChild,
  temporaryFolder,
} from "./process.ts";
import type { OnProgress } from "./progress.ts";

/** A distribution on Maven Central that starts without anything else. */
interface Distribution {
  /** Maven group and artifact, and the name of the program in bin/. */
  readonly group: string;
  readonly program: "elasticsearch" | "opensearch";
  readonly label: string;
  /** Bytes of the zip and of its unpacked content together; for the progress bar only. */
  readonly size: number;
  /** The feature versions of Java that it runs on. */
  readonly java: (major: number) => boolean;
  /** Prefix of its environment variables. */
  readonly variables: "ES" | "OPENSEARCH";
  /** Lines of its configuration beside those that all have. */
  readonly settings: Readonly<Record<string, string>>;
}

/** All that can be started; another version is another row. */
const DISTRIBUTIONS = {
  "8.19.21": {
    group: "org.elasticsearch.distribution.integ-test-zip",
    program: "elasticsearch",
    label: "Elasticsearch 8.19",
    size: 232_000_000,
    java: (major) => major >= 17,
    variables: "ES",
    settings: { "xpack.security.enabled": "false" },
  },
} satisfies Record<string, Distribution>;

export type ElasticsearchVersion = keyof typeof DISTRIBUTIONS;

/** The version of the demo and the tests. */
export const DEFAULT_VERSION: ElasticsearchVersion = "8.19.21";

const START_TIMEOUT_MS = 180_000;

export interface ElasticsearchOptions {
  readonly version?: ElasticsearchVersion;
  /** Where Java is; found by itself when absent. */
  readonly javaHome?: string;
  /** Heap in megabytes, 512 by default. */
  readonly heapMb?: number;
  /** Leaves the JVM to its own settings. Without it, it starts in half the time and memory, but is not to be measured. */
  readonly benchmark?: boolean;
  /** Lines of elasticsearch.yml beside or instead of ours, for example `{ "http.max_content_length": "1mb" }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Files beside elasticsearch.yml, by name: keys, certificates, users. */
  readonly files?: Readonly<Record<string, string>>;
  /** A distribution of one's own (with plugins) in place of the one in the cache; see {@link installedElasticsearch}. */
  readonly home?: string;
  /** Whether the server on a port of the loopback interface can be used, where it does not answer everybody by plain HTTP. */
  readonly ready?: (port: number) => Promise<boolean>;
  readonly onProgress?: OnProgress;
}

/** A running server. */
export interface SearchServer {
  readonly url: string;
  readonly version: string;
  /** How it came to be, for people. */
  readonly description: string;
  /** Stops the server and removes its data. */
  stop(): Promise<void>;
}

/** A running server of our own, which can be made to fail. */
export interface ElasticsearchServer extends SearchServer {
  /** The process of the server itself, for SIGSTOP, or for its memory and CPU. */
  readonly pid: number;
  log(): string;
  /** Stops the server with SIGTERM and keeps its data and port. */
  halt(): Promise<void>;
  /** Kills the server with SIGKILL; its data and port are kept. */
  kill(): Promise<void>;
  /** Starts it again after {@link ElasticsearchServer.halt} or {@link ElasticsearchServer.kill}. */
  start(): Promise<void>;
}

/**
 * Starts Elasticsearch on a free port of the loopback interface, without security. The first use downloads the
 * distribution from Maven Central into the cache (107 MB).
 *
 * @throws Advice where Java or Maven is missing
 * @throws Error with the server's log where it does not start
 */
export async function startElasticsearch(options: ElasticsearchOptions = {}): Promise<ElasticsearchServer> {
  const version = options.version ?? DEFAULT_VERSION;
  const distribution: Distribution = DISTRIBUTIONS[version];
  const javaHome = options.javaHome ?? requireJava(distribution).home;
  const home = options.home ?? await installed(version, distribution, options.onProgress);
  const folder = temporaryFolder(distribution.program);
  try {
    await configure(home, folder, distribution, options);
    const first = await launch(home, folder, javaHome, distribution, options);
    return serverHandle({ version, distribution, home, folder, javaHome, options, first });
  } catch (error) {
    removeFolder(folder);
    throw error;
  }
}

/** What is missing on this machine to start the server without docker; empty where nothing is. */
export function missingForElasticsearch(
  version: ElasticsearchVersion = DEFAULT_VERSION,
): ("java" | "maven")[] {
  const distribution: Distribution = DISTRIBUTIONS[version];
  const maven = existsSync(join(cacheFolder(), cacheName(version, distribution))) ||
    findCommand("mvn") !== null;
  return [
    ...(findJava(distribution.java) === null ? ["java" as const] : []),
    ...(maven ? [] : ["maven" as const]),
  ];
}

/** The distribution's folder in the cache, downloaded first if need be. It is shared: make a copy to change it. */
export function installedElasticsearch(version: ElasticsearchVersion = DEFAULT_VERSION): Promise<string> {
  return installed(version, DISTRIBUTIONS[version]);
}

/** The Java that the server runs on. @throws Advice where there is none */
export function javaOfElasticsearch(version: ElasticsearchVersion = DEFAULT_VERSION): string {
  return requireJava(DISTRIBUTIONS[version]).home;
}

function requireJava(distribution: Distribution): Java {
  const java = findJava(distribution.java);
  if (java === null) {
    throw new Advice(`${distribution.label} needs Java 17 or newer, and this machine has none.`);
  }
  return java;
}

function cacheName(version: string, distribution: Distribution): string {
  return `${distribution.program}-${version}`;
}

/** The distribution's folder, downloaded first if need be. It is shared and never written to. */
async function installed(
  version: string,
  distribution: Distribution,
  onProgress?: OnProgress,
): Promise<string> {
  const { group, program, label } = distribution;
  const name = cacheName(version, distribution);
  const artifact = `${group}:${program}:${version}:zip`;
  const repository = join(homedir(), ".m2", "repository", ...group.split("."), program, version);
  const folder = await cached({
    name,
    label,
    size: distribution.size,
    watched: [repository],
    async install(staging) {
      const maven = findCommand("mvn");
      if (maven === null) {
        throw new Advice(`Maven is needed to download ${label}, and this machine has none.`);
      }
      // Maven leaves a marker in the working directory, and does nothing where it finds one: so it works in the staging folder.
      await runToEnd({
        command: maven,
        args: ["-q", "-B", "dependency:unpack", `-Dartifact=${artifact}`, `-DoutputDirectory=${staging}`],
        cwd: staging,
      });
      if (!existsSync(join(staging, name, "bin", program))) {
        throw new Error(`Maven unpacked no ${name} from ${artifact}`);
      }
    },
  }, onProgress);
  return join(folder, name);
}

/** Lays out an instance's own folders: a copy of the configuration, data, logs, temporary files. */
async function configure(
  home: string,
  folder: string,
  distribution: Distribution,
  options: ElasticsearchOptions,
): Promise<void> {
  for (const name of ["data", "logs", "tmp"]) mkdirSync(join(folder, name));
  cpSync(join(home, "config"), join(folder, "config"), { recursive: true });
  const jvmOptions = join(folder, "config", "jvm.options");
  const kept = readFileSync(jvmOptions, "utf8").split("\n")
    // The log of the garbage collector would go to the shared home; jdk.incubator.vector costs a second of start.
    .filter((line) => !/gc\.log|jdk\.incubator/.test(line));
  writeFileSync(jvmOptions, kept.join("\n"));
  writeSettings(folder, distribution, options.settings ?? {});
  for (const [name, text] of Object.entries(options.files ?? {})) {
    writeFileSync(join(folder, "config", name), text, { mode: 0o600 });
  }
  if (isRoot()) {
    await runToEnd({ command: "chown", args: ["-R", `${SERVER_USER.uid}:${SERVER_USER.gid}`, folder] });
  }
}

function writeSettings(
  folder: string,
  distribution: Distribution,
  settings: Readonly<Record<string, string>>,
): void {
  const all: Record<string, string> = {
    "discovery.type": "single-node",
    "path.data": join(folder, "data"),
    "path.logs": join(folder, "logs"),
    "network.host": "127.0.0.1",
    "http.port": "0",
    "transport.port": "0",
    "node.portsfile": "true",
    // Else a disk that is 95 % full makes all indices read-only.
    "cluster.routing.allocation.disk.threshold_enabled": "false",
    ...distribution.settings,
    ...settings,
  };
  writeFileSync(join(folder, "config", `${distribution.program}.yml`), yamlLines(all));
}

/** JSON's strings are YAML's; values that are lists come as flow sequences and are left as they are. */
function yamlLines(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name}: ${value.startsWith("[") ? value : JSON.stringify(value)}\n`).join("");
}

interface Launched {
  readonly child: Child;
  readonly port: number;
}

async function launch(
  home: string,
  folder: string,
  javaHome: string,
  distribution: Distribution,
  options: ElasticsearchOptions,
): Promise<Launched> {
  const portsFile = join(folder, "logs", "http.ports");
  rmSync(portsFile, { force: true });
  const child = await startChild({
    command: join(home, "bin", distribution.program),
    args: [],
    cwd: folder,
    env: environment(folder, javaHome, distribution, options),
    unprivileged: true,
  });
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const port = readPort(portsFile);
    if (port !== null && await (options.ready ?? isHealthy)(port)) return { child, port };
    if (child.exit() !== null) throw new Error(`${distribution.label} did not start:\n${child.output()}`);
    if (Date.now() > deadline) {
      await child.stop();
      throw new Error(
        `${distribution.label} was not ready after ${START_TIMEOUT_MS / 1000} s:\n${child.output()}`,
      );
    }
    await delay(100);
  }
}

function environment(
  folder: string,
  javaHome: string,
  { variables }: Distribution,
  options: ElasticsearchOptions,
): Record<string, string> {
  const heap = `-Xms${options.heapMb ?? 512}m -Xmx${options.heapMb ?? 512}m`;
  // Half the CPU and memory of the defaults: no second compiler, a collector without threads of its own, memory taken when used.
  const light = "-XX:-AlwaysPreTouch -XX:TieredStopAtLevel=1 -XX:-UseG1GC -XX:+UseSerialGC";
  const ours = Object.entries(process.env)
    .flatMap(([name, value]) =>
      value === undefined || /^(ES|OPENSEARCH|JAVA)_/.test(name) ? [] : [[name, value]]
    );
  return {
    ...Object.fromEntries(ours),
    [`${variables}_PATH_CONF`]: join(folder, "config"),
    [`${variables}_TMPDIR`]: join(folder, "tmp"),
    [`${variables}_JAVA_HOME`]: javaHome,
    [`${variables}_JAVA_OPTS`]: options.benchmark === true ? heap : `${heap} ${light}`,
    CLI_JAVA_OPTS: "-XX:TieredStopAtLevel=1",
  };
}

/** The server writes its addresses into a file, one a line, when it listens. */
function readPort(file: string): number | null {
  try {
    const port = /^127\.0\.0\.1:(\d+)$/m.exec(readFileSync(file, "utf8"))?.[1];
    return port === undefined ? null : Number(port);
  } catch (error) {
    if (isErrorCode(error, "ENOENT")) return null;
    throw error;
  }
}

/** True when the server on this port of the loopback interface answers and its indices can be used. */
export async function isHealthy(port: number): Promise<boolean> {
  try {
    const response = await fetch(
      `http://127.0.0.1:${port}/_cluster/health?wait_for_status=yellow&timeout=1s`,
    );
    await response.body?.cancel();
    return response.ok;
  } catch {
    // Not listening yet; the caller's deadline and the process's end bound the wait.
    return false;
  }
}

function serverHandle(parts: {
  version: string;
  distribution: Distribution;
  home: string;
  folder: string;
  javaHome: string;
  options: ElasticsearchOptions;
  first: Launched;
}): ElasticsearchServer {
  const { version, distribution, home, folder, javaHome, options, first } = parts;
  let { child } = first;
  /** From version 8 on a launcher waits for the JVM of the server, its only child. */
  const serverPid = () => childrenOf(child.pid)[0] ?? child.pid;
  const halt = async () => {
    // A server that was stopped by SIGSTOP does not hear SIGTERM.
    killQuietly(serverPid(), "SIGCONT");
    await child.stop("SIGTERM", 30_000);
  };
  return {
    url: `http://127.0.0.1:${first.port}`,
    version,
    description: `${distribution.label} from Maven Central, on ${javaHome}`,
    get pid() {
      return serverPid();
    },
    log: () => child.output(),
    halt,
    async stop() {
      await halt();
      removeFolder(folder);
    },
    async kill() {
      killQuietly(serverPid(), "SIGKILL");
      await child.exited;
    },
    async start() {
      // The same port again, so that clients find it.
      writeSettings(folder, distribution, { ...options.settings, "http.port": String(first.port) });
      ({ child } = await launch(home, folder, javaHome, distribution, options));
    },
  };
}
