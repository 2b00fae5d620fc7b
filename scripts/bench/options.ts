/** The options of `deno task bench`. */
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { PROJECT } from "../project.ts";
import { Advice } from "../servers/process.ts";
import type { Workload } from "./bench.ts";
import { WORKLOADS, workloadsOf } from "./workloads/all.ts";

const NAMES = WORKLOADS.map(({ letter, name, title }) => `    ${letter}  ${name.padEnd(12)} ${title}`).join(
  "\n",
);

export const HELP = `deno task bench [options]

Starts PostgreSQL and Elasticsearch, fills databases, and measures pgsync against the floor: COPY of the finished
documents, posted to _bulk by a loop that does nothing else. Candidates come in turn, within one run. Linux only.

  --only <workloads>      letters or names, separated by commas (default: all)
${NAMES}
  --scale <factor>        all amounts multiplied by it, to try it out: 0.01 (default: 1)
  --rounds <n>            how often each candidate has its turn (default: 3)
  --with-pgsync           PGSync 7.3.0, too: needs Python 3 with pip and venv, and a Redis server
  --pgsync-rounds <n>     how often PGSync has its turn (default: 1)
  --executable <path>     measure this executable (default: dist/pgsync, built first)
  --from-sources          measure the sources, under Deno
  --floor-bytes <n>       size of the floor's requests (default: 5000000)
  --floor-requests <n>    how many the floor has in flight (default: 3)
  --out <folder>          where bench.json and bench.svg go; what other workloads have left there stays
                          (default: docs/performance, or dist/bench where a scale is given)
  --help

Variables BENCH_X are passed to pgsync as X: BENCH_NUM_WORKERS=1.`;

export interface Options {
  readonly workloads: readonly Workload[];
  readonly scale: number;
  readonly rounds: number;
  readonly withPython: boolean;
  readonly pythonRounds: number;
  /** Null where it is to be built. */
  readonly executable: string | null;
  readonly fromSources: boolean;
  readonly floor: { readonly bytesARequest: number; readonly requestsInFlight: number };
  readonly folder: string;
}

/** The options, or null where help is wanted. @throws Advice where they cannot be read */
export function readOptions(args: string[]): Options | null {
  try {
    const { values } = parseArgs({
      args,
      options: {
        only: { type: "string" },
        scale: { type: "string", default: "1" },
        rounds: { type: "string", default: "3" },
        "with-pgsync": { type: "boolean", default: false },
        "pgsync-rounds": { type: "string", default: "1" },
        executable: { type: "string" },
        "from-sources": { type: "boolean", default: false },
        "floor-bytes": { type: "string", default: "5000000" },
        "floor-requests": { type: "string", default: "3" },
        out: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) return null;
    const scale = Number(values.scale);
    if (!(scale > 0 && scale <= 10)) throw new Error("--scale must be a number above 0, 10 at most.");
    return {
      workloads: values.only === undefined ? WORKLOADS : workloadsOf(values.only),
      scale,
      rounds: count("--rounds", values.rounds),
      withPython: values["with-pgsync"],
      pythonRounds: count("--pgsync-rounds", values["pgsync-rounds"]),
      executable: values.executable === undefined ? null : resolve(values.executable),
      fromSources: values["from-sources"],
      floor: {
        bytesARequest: count("--floor-bytes", values["floor-bytes"]),
        requestsInFlight: count("--floor-requests", values["floor-requests"]),
      },
      folder: values.out === undefined ? defaultFolder(scale) : resolve(values.out),
    };
  } catch (error) {
    throw new Advice(`${error instanceof Error ? error.message : error}\n\n${HELP}`);
  }
}

/** Figures of a smaller run are none that anybody should read. */
function defaultFolder(scale: number): string {
  return scale === 1 ? join(PROJECT, "docs", "performance") : join(PROJECT, "dist", "bench");
}

function count(name: string, text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1) return number;
  throw new Error(`${name} must be a whole number, 1 at least.`);
}
