/**
 * The folder in which downloaded servers are kept, outside the project, shared by all checkouts.
 *
 * `PGSYNC_CACHE`, else `$XDG_CACHE_HOME/pgsync-edge`, else `~/.cache/pgsync-edge`. As root the servers run under another user,
 * who cannot enter a home folder such as /root (mode 0700); then it is /var/cache/pgsync-edge.
 */
import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { OnProgress } from "./progress.ts";
import { isAlive, isErrorCode, isReachableByServers, runToEnd } from "./process.ts";

/** What is to be in the cache. */
export interface CacheEntry {
  /** Name of its folder in the cache. Holds the version, because what is there is never replaced. */
  readonly name: string;
  /** What to call it while it is being downloaded. */
  readonly label: string;
  /** Bytes of the finished folder, as far as it is known: for the progress bar. */
  readonly size: number | null;
  /** Folders outside the staging folder that grow during the download, for example Maven's repository. */
  readonly watched?: readonly string[];
  /** Fills the empty folder that it is given. */
  install(staging: string): Promise<void>;
}

const PROGRESS_INTERVAL_MS = 250;

/** The cache folder; it need not exist yet. */
export function cacheFolder(): string {
  const explicit = process.env["PGSYNC_CACHE"];
  if (explicit) return explicit;
  const base = process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
  const usual = join(base, "pgsync-edge");
  return isReachableByServers(usual) ? usual : "/var/cache/pgsync-edge";
}

const running = new Map<string, Promise<string>>();

/**
 * The folder of an entry, installed first if it is not there. It is filled beside its place and renamed when whole, so an interrupted
 * download leaves nothing that looks finished, and of two processes at once the slower discards its copy.
 */
export function cached(entry: CacheEntry, onProgress?: OnProgress): Promise<string> {
  const folder = join(cacheFolder(), entry.name);
  if (existsSync(folder)) return Promise.resolve(folder);
  let installation = running.get(folder);
  if (installation === undefined) {
    installation = install(entry, folder, onProgress).finally(() => running.delete(folder));
    running.set(folder, installation);
  }
  return installation;
}

async function install(entry: CacheEntry, folder: string, onProgress?: OnProgress): Promise<string> {
  const cache = cacheFolder();
  mkdirSync(cache, { recursive: true });
  if (!isReachableByServers(cache)) {
    throw new Error(
      `The servers do not run as root, and their user cannot enter ${cache}: set PGSYNC_CACHE to a folder that all may enter.`,
    );
  }
  removeAbandoned(cache);
  const staging = join(cache, `${entry.name}.${process.pid}-${Date.now().toString(36)}.partial`);
  mkdirSync(staging);
  chmodSync(staging, 0o755);
  const before = sizeOf(entry.watched ?? []);
  const timer = onProgress && setInterval(() => {
    onProgress(entry.label, sizeOf([staging, ...entry.watched ?? []]) - before, entry.size);
  }, PROGRESS_INTERVAL_MS);
  onProgress?.(entry.label, 0, entry.size);
  try {
    await entry.install(staging);
    // Whatever our umask is, the servers' user must be able to read.
    await runToEnd({ command: "chmod", args: ["-R", "a+rX", staging] });
    try {
      renameSync(staging, folder);
    } catch (error) {
      if (!isErrorCode(error, "ENOTEMPTY") && !isErrorCode(error, "EEXIST")) throw error;
    }
  } finally {
    clearInterval(timer);
    rmSync(staging, { recursive: true, force: true });
  }
  onProgress?.(entry.label, entry.size ?? 0, entry.size);
  return folder;
}

/** Removes what processes left behind that were killed while they installed. */
function removeAbandoned(cache: string): void {
  for (const name of readdirSync(cache)) {
    const pid = /\.(\d+)-\w+\.partial$/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) {
      rmSync(join(cache, name), { recursive: true, force: true });
    }
  }
}

/** Bytes of all files below the paths; files that vanish meanwhile count nothing. */
function sizeOf(paths: readonly string[]): number {
  let bytes = 0;
  for (const path of paths) {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) continue;
    if (!stat.isDirectory()) {
      bytes += stat.size;
      continue;
    }
    try {
      bytes += sizeOf(readdirSync(path).map((name) => join(path, name)));
    } catch (error) {
      if (!isErrorCode(error, "ENOENT")) throw error;
    }
  }
  return bytes;
}
