/** pgsync itself, as its users run it. */
import { join } from "node:path";
import process from "node:process";
import { z } from "zod";
import { measure } from "../measure/run.ts";
import { PROJECT } from "../../project.ts";
import { type ChildOptions, runToEnd, temporaryFolder } from "../../servers/process.ts";
import type { Servers } from "../servers.ts";
import type { Candidate } from "./candidate.ts";

/** A schema file with one document. */
export interface BenchSchema {
  /** Its path. */
  readonly file: string;
  /** The alias that it names. */
  readonly index: string;
}

const BOOKSHOP: BenchSchema = {
  file: join(PROJECT, "examples", "bookshop", "schema.yaml"),
  index: "bookshop",
};
/** The permissions that the program needs under Deno. */
const PERMISSIONS = [
  "--allow-net",
  "--allow-env",
  "--allow-read",
  "--allow-write",
  "--allow-sys=osRelease,hostname",
];

/** What `pgsync plan --json` tells of the only index. */
const PLAN = z.object({
  databases: z.tuple([
    z.object({
      indices: z.tuple([
        z.object({
          mapping: z.record(z.string(), z.unknown()),
          settings: z.record(z.string(), z.unknown()),
          loadSql: z.string(),
        }),
      ]),
    }),
  ]),
});

/** How the documents are made and what their index is like, as pgsync does it. */
export type IndexPlan = z.infer<typeof PLAN>["databases"][0]["indices"][0];

/** pgsync from its executable or its sources, against the servers of a benchmark. */
export class Pgsync implements Candidate {
  readonly name = "pgsync";
  readonly #folder = temporaryFolder("bench");

  /** @param executable its path; null for the sources under Deno */
  constructor(
    private readonly servers: Servers,
    private readonly executable: string | null,
    private readonly schema: BenchSchema = BOOKSHOP,
  ) {}

  get index(): string {
    return this.schema.index;
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

  async plan(): Promise<IndexPlan> {
    const { databases: [database] } = PLAN.parse(JSON.parse(await runToEnd(this.command("plan", "--json"))));
    return database.indices[0];
  }

  load() {
    return measure(this.command("--bootstrap", "--listen", "off"), this.servers);
  }

  async clear() {
    await runToEnd(this.command("teardown"));
  }
}
