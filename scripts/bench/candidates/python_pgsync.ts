/** PGSync, which this project implements anew: Python, with a Redis of its own. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { cached } from "../../servers/cache.ts";
import { findCommand } from "../../servers/java.ts";
import { freePort } from "../../servers/ports.ts";
import {
  Advice,
  type Child,
  type ChildOptions,
  runToEnd,
  startChild,
  temporaryFolder,
} from "../../servers/process.ts";
import { type Cost, measure, startMeasuring, sumOfCosts } from "../measure/run.ts";
import { memoryOfFamily } from "../measure/usage.ts";
import type { Probe } from "../data/dataset.ts";
import type { Servers } from "../servers.ts";
import type { Follower, Following } from "./candidate.ts";
import type { BenchSchema } from "./pgsync.ts";

const VERSION = "7.3.0";
const REDIS_TIMEOUT_MS = 10_000;
/** It may have a backlog to follow first, at some hundred rows a second. */
const READY_TIMEOUT_MS = 30 * 60_000;
const LOOK_EVERY_MS = 100;

/**
 * Elasticsearch from Maven does not answer `GET /`, by which PGSync's client asks for the version, once. Python runs a module of this name at its start.
 */
const SITECUSTOMIZE = (version: string) => `
import elasticsearch

def verify(self, headers, timeout):
    self._verified_elasticsearch = True

elasticsearch.Transport._do_verify_elasticsearch = verify
elasticsearch.Elasticsearch.info = lambda self: {"version": {"number": "${version}"}}
`;

/** PGSync and its Redis, ready to be started. */
export interface PythonTools {
  /** The folder with `pgsync` and `bootstrap`. */
  readonly bin: string;
  readonly redis: Child;
  readonly redisPort: number;
}

/**
 * Installs PGSync into the cache (at its first use), and starts a Redis.
 *
 * @throws Advice where pip or a Redis server is missing
 */
export async function pythonTools(): Promise<PythonTools> {
  const server = findCommand("redis-server") ?? findCommand("valkey-server");
  const python = findCommand("python3");
  if (server === null || python === null) {
    throw new Advice(
      "--with-pgsync needs Python 3 with pip and venv, and a Redis server; on Debian: apt-get install redis-server python3-venv.",
    );
  }
  const folder = await cached({
    name: `PGSync-${VERSION}`,
    label: `PGSync ${VERSION}`,
    size: null,
    async install(staging) {
      await runToEnd({ command: python, args: ["-m", "venv", "--copies", join(staging, "venv")] });
      const installed = join(staging, "venv", "bin", "python3");
      await runToEnd({ command: installed, args: ["-m", "pip", "install", "--quiet", `pgsync==${VERSION}`] });
    },
  });
  const redisPort = await freePort();
  const redis = await startChild({
    command: server,
    args: [
      "--port",
      String(redisPort),
      "--bind",
      "127.0.0.1",
      "--save",
      "",
      "--dir",
      temporaryFolder("redis"),
    ],
  });
  const deadline = Date.now() + REDIS_TIMEOUT_MS;
  while (!redis.output().includes("Ready to accept connections")) {
    if (redis.exit() !== null || Date.now() > deadline) throw new Error(`no Redis:\n${redis.output()}`);
    await delay(LOOK_EVERY_MS);
  }
  return { bin: join(folder, "venv", "bin"), redis, redisPort };
}

/** PGSync against the servers of a benchmark. Its triggers burden all who write, so it is set up only for its turn. */
export class PythonPgsync implements Follower {
  readonly name = `PGSync ${VERSION}`;
  readonly description = `PGSync ${VERSION} on Python, its Redis beside it`;
  readonly #folder = temporaryFolder("python");

  constructor(
    private readonly tools: PythonTools,
    private readonly servers: Servers,
    private readonly schema: BenchSchema,
    private readonly probe: Probe,
  ) {
    writeFileSync(join(this.#folder, "sitecustomize.py"), SITECUSTOMIZE(servers.versions.elasticsearch));
  }

  get indices(): readonly string[] {
    return this.schema.indices;
  }

  async load(): Promise<Cost> {
    const helper = { helperPid: this.tools.redis.pid };
    // As our own load, which makes publication and slot, too.
    const costs: Cost[] = [];
    for (const program of ["bootstrap", "pgsync"]) {
      costs.push(await measure(this.#command(program), this.servers, helper));
    }
    return sumOfCosts(costs);
  }

  async follow(): Promise<Following> {
    const child = await startChild(this.#command("pgsync", "--daemon"));
    const { sql, search } = this.servers;
    const [index = ""] = this.indices;
    // It tells nobody when it has caught up: a change of ours must have come through.
    const wanted = await this.probe.change(sql);
    const deadline = Date.now() + READY_TIMEOUT_MS;
    while (!wanted.has(await search.text(index, wanted.id, wanted.field))) {
      if (child.exit() !== null) throw new Error(`${this.name} ended:\n${child.output()}`);
      if (Date.now() > deadline) throw new Error(`${this.name} was not ready in time:\n${child.output()}`);
      await delay(LOOK_EVERY_MS);
    }
    return {
      measure: () => startMeasuring({ pid: child.pid, helperPid: this.tools.redis.pid }, this.servers),
      resident: () =>
        [child.pid, this.tools.redis.pid].reduce(
          (sum, pid) => sum + (memoryOfFamily(pid)?.resident ?? NaN),
          0,
        ),
      metrics: () => Promise.resolve(null),
      stop: async () => {
        await child.stop();
      },
    };
  }

  async clear(): Promise<void> {
    await runToEnd(this.#command("bootstrap", "--teardown"));
    for (const index of this.indices) await this.servers.search.remove(index);
  }

  #command(program: string, ...args: string[]): ChildOptions {
    const url = new URL(this.servers.postgresUrl);
    const { bin, redisPort } = this.tools;
    const script = join(bin, program);
    if (!existsSync(script)) throw new Error(`${script} is missing`);
    return {
      // Its scripts name an interpreter by the path at which they were installed, which has changed since.
      command: join(bin, "python3"),
      args: [script, "--config", this.schema.file, ...args],
      cwd: this.#folder,
      env: {
        PATH: process.env["PATH"] ?? "",
        HOME: this.#folder,
        PYTHONPATH: this.#folder,
        PG_HOST: url.hostname,
        PG_PORT: url.port,
        PG_USER: url.username,
        PG_PASSWORD: "unused",
        ELASTICSEARCH_URL: this.servers.search.url,
        REDIS_HOST: "127.0.0.1",
        REDIS_PORT: String(redisPort),
        CHECKPOINT_PATH: this.#folder,
      },
    };
  }
}
