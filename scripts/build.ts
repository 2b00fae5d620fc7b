/**
 * `deno task build`: one executable of the whole program, made by Bun, at dist/pgsync. It needs neither Deno nor Bun nor
 * node_modules where it runs, only glibc.
 *
 * Options: `--outfile <path>`, `--target <bun's name of a platform>`, for example `bun-linux-arm64` or `bun-darwin-arm64`.
 */
import { mkdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { bunPath } from "./bun.ts";
import { PROJECT } from "./project.ts";
import { runScript, runToEnd } from "./servers/process.ts";

export interface BuildOptions {
  /** Where the executable goes; dist/pgsync by default. */
  readonly outfile?: string;
  /** Bun's name of the platform to build for; this one by default. */
  readonly target?: string;
}

/** Builds the executable and returns its path. */
export async function build(options: BuildOptions = {}): Promise<string> {
  const outfile = options.outfile ?? join(PROJECT, "dist", "pgsync");
  mkdirSync(dirname(outfile), { recursive: true });
  await runToEnd({
    command: await bunPath(),
    args: [
      ...["build", "--compile", "--minify", "--bytecode"],
      // Else bytecode means CommonJS, in which top-level await does not exist.
      "--format=esm",
      // The program reads `.env` by itself, and a stranger's bunfig.toml is none of its business.
      ...["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"],
      ...(options.target === undefined ? [] : [`--target=${options.target}`]),
      ...["cli.ts", "--outfile", outfile],
    ],
    cwd: PROJECT,
  });
  return outfile;
}

if (import.meta.main) {
  await runScript(async () => {
    const { values } = parseArgs({
      args: process.argv.slice(2),
      options: { outfile: { type: "string" }, target: { type: "string" } },
    });
    const outfile = await build(values);
    console.log(`${outfile} (${(statSync(outfile).size / 1e6).toFixed(0)} MB)`);
    return 0;
  });
}
