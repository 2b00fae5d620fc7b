/** Bun, which builds the executable and runs the runtime tests. It comes from npm, like everything else. */
import { existsSync, readFileSync } from "node:fs";
import { arch, platform } from "node:os";
import { join } from "node:path";
import { cached } from "./servers/cache.ts";
import { runToEnd } from "./servers/process.ts";
import type { OnProgress } from "./servers/progress.ts";
import { PROJECT } from "./project.ts";

/** Bytes of the unpacked package, for the progress bar. */
const UNPACKED_SIZE = 100_000_000;

/**
 * The path of Bun's executable, in the version of deno.json. On Linux x64 Deno has laid it into node_modules; elsewhere the
 * platform's package is downloaded into the cache.
 */
export async function bunPath(onProgress?: OnProgress): Promise<string> {
  const system = platform() === "win32" ? "windows" : platform();
  const packageName = `@oven/bun-${system}-${arch() === "arm64" ? "aarch64" : arch()}`;
  const laid = join(PROJECT, "node_modules", packageName, "bin", "bun");
  if (existsSync(laid)) return laid;
  const version = pinnedVersion();
  const folder = await cached({
    name: `bun-${version}-${system}-${arch()}`,
    label: `Bun ${version}`,
    size: UNPACKED_SIZE,
    async install(staging) {
      await runToEnd({
        command: "npm",
        args: [
          ...["install", "--prefix", staging],
          ...["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"],
          `${packageName}@${version}`,
        ],
        cwd: staging,
      });
    },
  }, onProgress);
  return join(folder, "node_modules", packageName, "bin", system === "windows" ? "bun.exe" : "bun");
}

function pinnedVersion(): string {
  const version = /"npm:@oven\/bun-linux-x64@([^"]+)"/.exec(readFileSync(join(PROJECT, "deno.json"), "utf8"))
    ?.[1];
  if (version === undefined) throw new Error("deno.json names no version of @oven/bun-linux-x64");
  return version;
}
