/** pgsync as it stays: `--daemon`, with its status server. */
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../../servers/ports.ts";
import { startChild } from "../../servers/process.ts";
import type { Pgsync } from "./pgsync.ts";

const LOOK_EVERY_MS = 2;
/** It may have a backlog to follow first. */
const READY_TIMEOUT_MS = 10 * 60_000;

/** A running daemon that has caught up. */
export interface Daemon {
  readonly pid: number;
  /** From its start to its first line of log, in milliseconds. */
  readonly firstLineMs: Promise<number>;
  /** From its start to the first 200 of `/ready`, in milliseconds. */
  readonly readyMs: number;
  /** Its newest lines of log. */
  output(): string;
  /** The text of `/metrics`. */
  metrics(): Promise<string>;
  stop(): Promise<void>;
}

/** Starts the daemon and waits until it is ready. @throws Error with its output where it is not, in time */
export async function startDaemon(pgsync: Pgsync): Promise<Daemon> {
  const url = `http://127.0.0.1:${await freePort()}`;
  const firstLine = Promise.withResolvers<number>();
  const started = performance.now();
  const child = await startChild({
    ...pgsync.command("--daemon", "--listen", url.slice("http://".length)),
    onLine: () => firstLine.resolve(performance.now() - started),
  });
  while (!(await isReady(url))) {
    if (child.exit() !== null) throw new Error(`pgsync --daemon ended:\n${child.output()}`);
    if (performance.now() - started > READY_TIMEOUT_MS) {
      await child.stop();
      throw new Error(`pgsync --daemon was not ready in time:\n${child.output()}`);
    }
    await delay(LOOK_EVERY_MS);
  }
  return {
    pid: child.pid,
    firstLineMs: firstLine.promise,
    readyMs: performance.now() - started,
    output: child.output,
    metrics: async () => await (await fetch(`${url}/metrics`)).text(),
    async stop() {
      const { code } = await child.stop();
      if (code !== 0) throw new Error(`pgsync --daemon ended with code ${code}:\n${child.output()}`);
    },
  };
}

async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/ready`);
    await response.body?.cancel();
    return response.ok;
  } catch {
    // It does not listen yet; that it ended, or takes too long, is seen by the caller.
    return false;
  }
}
