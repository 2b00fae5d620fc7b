/** pg_recvlogical, PostgreSQL's own program that reads a slot and does nothing with it. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { findCommand } from "../../servers/java.ts";
import { Advice, type ChildOptions, startChild } from "../../servers/process.ts";
import { type Cost, measure, type Measuring, startMeasuring } from "../measure/run.ts";
import type { Servers } from "../servers.ts";

const DEBIANS_MAJORS = "/usr/lib/postgresql";

/** The path of a program of PostgreSQL's. @throws Advice where this machine has none */
export function postgresProgram(name: string): string {
  const onPath = findCommand(name);
  if (onPath !== null) return onPath;
  const majors = existsSync(DEBIANS_MAJORS) ? readdirSync(DEBIANS_MAJORS).map(Number) : [];
  const found = majors.sort((a, b) => b - a).map((major) => join(DEBIANS_MAJORS, String(major), "bin", name))
    .find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new Advice(`This workload needs ${name}; on Debian: apt-get install postgresql`);
}

/** A slot of its own, read with a publication that pgsync may have made: then the server sends both the same. */
export class RecvLogical {
  readonly name = "pg_recvlogical";
  readonly #slot = "bench_recvlogical";

  constructor(private readonly servers: Servers, private readonly publication: string) {}

  /** Makes the slot: what is committed from now on is read. */
  async begin(): Promise<void> {
    await this.servers.sql`SELECT pg_create_logical_replication_slot(${this.#slot}, 'pgoutput')`;
  }

  /** Reads up to a position. */
  read(end: string): Promise<Cost> {
    return measure(this.#command("--endpos", end), this.servers);
  }

  /** Reads until it is stopped. */
  async follow(): Promise<{ measure(): Measuring; stop(): Promise<void> }> {
    const child = await startChild(this.#command());
    return {
      measure: () => startMeasuring(child, this.servers),
      async stop() {
        const { code } = await child.stop("SIGINT");
        if (code !== 0) throw new Error(`pg_recvlogical ended with code ${code}:\n${child.output()}`);
      },
    };
  }

  async clear(): Promise<void> {
    await this.servers.sql`SELECT pg_drop_replication_slot(${this.#slot})`;
  }

  #command(...args: string[]): ChildOptions {
    const url = new URL(this.servers.postgresUrl);
    return {
      command: postgresProgram("pg_recvlogical"),
      args: [
        ...["--host", url.hostname, "--port", url.port, "--username", url.username],
        ...["--dbname", url.pathname.slice(1), "--slot", this.#slot, "--start", "--no-loop"],
        ...["--file", "/dev/null", "--fsync-interval", "0", "--status-interval", "1"],
        ...["-o", "proto_version=1", "-o", `publication_names=${this.publication}`, "-o", "messages=true"],
        ...args,
      ],
    };
  }
}
