/** pgsync itself, as its users run it. */
import { join } from "node:path";
import process from "node:process";
import { z } from "zod";
import { type Cost, measure, startMeasuring } from "../measure/run.ts";
import { memoryOfFamily } from "../measure/usage.ts";
import { PROJECT } from "../../project.ts";
import { type ChildOptions, runToEnd, temporaryFolder } from "../../servers/process.ts";
import type { Servers } from "../servers.ts";
import type { Follower, Following } from "./candidate.ts";
import { startDaemon } from "./daemon.ts";

/** A schema file. */
export interface BenchSchema {
  /** Its path. */
  readonly file: string;
  /** The aliases that its documents name, in their order. */
  readonly indices: readonly string[];
}

/** The permissions that the program needs under Deno. */
const PERMISSIONS = [
  "--allow-net",
  "--allow-env",
  "--allow-read",
  "--allow-write",
  "--allow-sys=osRelease,hostname",
];

const INDEX_PLAN = z.object({
  index: z.string(),
  mapping: z.record(z.string(), z.unknown()),
  settings: z.record(z.string(), z.unknown()),
  loadSql: z.string(),
  keysSql: z.string(),
});

/** What `pgsync plan --json` tells of the only database. */
const PLAN = z.object({ databases: z.tuple([z.object({ indices: z.array(INDEX_PLAN) })]) });

/** How the documents are made and what their index is like, as pgsync does it. */
export type IndexPlan = z.infer<typeof INDEX_PLAN>;

/** pgsync from its executable or its sources, against the servers of a benchmark. */
export class Pgsync implements Follower {
  readonly name: string;
  readonly #folder = temporaryFolder("bench");

  /**
   * @param executable its path; null for the sources under Deno
   * @param workers that read during the initial load; its default, when absent
   */
  constructor(
    private readonly servers: Servers,
    private readonly executable: string | null,
    private readonly schema: BenchSchema,
    private readonly workers?: number,
  ) {
    this.name = workers === undefined ? "pgsync" : `pgsync, ${workers} worker${workers === 1 ? "" : "s"}`;
  }

  get indices(): readonly string[] {
    return this.schema.indices;
  }

  get description(): string {
    return this.executable === null ? "pgsync from the sources, under Deno" : "pgsync, the executable";
  }

  /** A command with its environment: its own folder, and none of our settings. */
  command(...args: string[]): ChildOptions {
    const program = this.executable ?? process.execPath;
    const prefix = this.executable === null
      ? ["run", "--no-prompt", ...PERMISSIONS, join(PROJECT, "cli.ts")]
      : [];
    const kept = ["PATH", "HOME", "TMPDIR", "LANG", "DENO_DIR"]
      .flatMap((name) => process.env[name] === undefined ? [] : [[name, process.env[name] ?? ""]]);
    const settings = Object.entries(process.env)
      // For trying settings out: BENCH_NUM_WORKERS=1 is NUM_WORKERS=1 for pgsync.
      .flatMap(([name, value]) =>
        name.startsWith("BENCH_") ? [[name.slice("BENCH_".length), value ?? ""]] : []
      );
    return {
      command: program,
      args: [...prefix, ...args],
      cwd: this.#folder,
      env: {
        ...Object.fromEntries([...kept, ...settings]),
        PG_URL: this.servers.postgresUrl,
        ELASTICSEARCH_URL: this.servers.search.url,
        SCHEMA: this.schema.file,
      },
    };
  }

  /** How it makes the documents of each index, in the order of the schema file. */
  async plan(): Promise<readonly IndexPlan[]> {
    const { databases: [database] } = PLAN.parse(JSON.parse(await runToEnd(this.command("plan", "--json"))));
    return this.indices.map((name) => {
      const plan = database.indices.find(({ index }) => index === name);
      if (plan === undefined) throw new Error(`pgsync plan tells nothing of the index ${name}`);
      return plan;
    });
  }

  load(): Promise<Cost> {
    const workers = this.workers === undefined ? [] : ["--num-workers", String(this.workers)];
    return measure(this.command("--bootstrap", "--listen", "off", ...workers), this.servers);
  }

  /** Follows the slot to its present end. */
  catchUp(): Promise<Cost> {
    return measure(this.command("--listen", "off"), this.servers);
  }

  /** Compares every document with its rows. @throws Error where one differs */
  verify(): Promise<Cost> {
    return measure(this.command("verify"), this.servers);
  }

  async follow(): Promise<Following> {
    const daemon = await startDaemon(this);
    return {
      measure: () => startMeasuring(daemon, this.servers),
      resident: () => memoryOfFamily(daemon.pid)?.resident ?? NaN,
      metrics: daemon.metrics,
      stop: daemon.stop,
    };
  }

  async clear(): Promise<void> {
    await runToEnd(this.command("teardown"));
  }
}
