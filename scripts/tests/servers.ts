/** The servers that test files share. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { PROJECT } from "../project.ts";
import { startElasticsearch } from "../servers/elasticsearch.ts";
import { startPostgres } from "../servers/postgres.ts";
import { progressView } from "../servers/progress.ts";
import { provideJava } from "../servers/search.ts";

/**
 * Starts what the files need, side by side, once for each lane: files that run at the same time must not share a server, where an open
 * transaction of one would keep a slot of the other from being made.
 *
 * @returns for each lane the environment variables that tests/support reads
 */
export async function startTestServers(
  files: readonly string[],
  lanes: number,
): Promise<Record<string, string>[]> {
  const { postgres, search } = neededBy(files);
  const view = progressView();
  const onProgress = view.bytes;
  const startLane = async () => {
    const env: Record<string, string> = {};
    await Promise.all([
      ...(postgres ? ([15, 17] as const) : []).map(async (major) => {
        env[`PGSYNC_TEST_POSTGRES_${major}`] = (await startPostgres({ major, onProgress })).url;
      }),
      ...(search ? [0] : []).map(async () => {
        await provideJava({ install: process.env["CI"] === "true", log: view.log });
        env["PGSYNC_TEST_ELASTICSEARCH"] = (await startElasticsearch({ onProgress })).url;
      }),
    ]);
    return env;
  };
  try {
    // The first lane fetches what the machine does not have yet.
    const environments = [await startLane()];
    const others = Array.from({ length: lanes - 1 }, startLane);
    return [...environments, ...await Promise.all(others)];
  } finally {
    view.stop();
  }
}

function neededBy(files: readonly string[]): { readonly postgres: boolean; readonly search: boolean } {
  // The helpers beside the tests count too: often it is they who use a server.
  const folders = [...new Set(files.map((file) => dirname(file)))].filter((folder) => folder !== "tests");
  const helpers = folders.flatMap((folder) =>
    readdirSync(join(PROJECT, folder)).filter((name) => /(?<!\.test)\.ts$/.test(name)).map((name) =>
      join(folder, name)
    )
  );
  const texts = [...files, ...helpers].map((file) => readFileSync(join(PROJECT, file), "utf8"));
  // Another helper may use both.
  const support = texts.flatMap((text) =>
    [...text.matchAll(/support\/(\w+)\.ts/g)].map((match) => match[1] ?? "")
  );
  const other = support.some((name) => !["postgres", "elasticsearch", "eventually"].includes(name));
  return {
    postgres: other || support.includes("postgres"),
    search: other || support.includes("elasticsearch"),
  };
}
