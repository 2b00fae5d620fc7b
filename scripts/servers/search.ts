/** A search engine for the demo: whichever this machine offers. */
import process from "node:process";
import { dockerAnswers, startElasticsearchInDocker } from "./docker.ts";
import { missingForElasticsearch, type SearchServer, startElasticsearch } from "./elasticsearch.ts";
import { canInstall, installLine, installMissing } from "./install.ts";
import { Advice } from "./process.ts";
import type { OnProgress } from "./progress.ts";

export interface FindOptions {
  /** Install Java and Maven where they are missing and no password is asked for. */
  readonly install: boolean;
  readonly onProgress?: OnProgress;
  /** Told what is tried, one line each. */
  readonly log: (line: string) => void;
}

/**
 * In this order: the server that ELASTICSEARCH_URL names (left running), a docker container, the distribution from Maven on this
 * machine's Java.
 *
 * @throws Advice where none of them can be had; it says what to install
 */
export async function findSearchServer(options: FindOptions): Promise<SearchServer> {
  const url = process.env["ELASTICSEARCH_URL"];
  if (url) {
    return { url, version: "unknown", description: "the server of ELASTICSEARCH_URL", stop: async () => {} };
  }
  if (dockerAnswers()) {
    try {
      return await startElasticsearchInDocker(options.onProgress);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      options.log(`Docker answers, but Elasticsearch cannot be started with it: ${reason}`);
    }
  }
  await provideJava(options);
  return await startElasticsearch(options.onProgress ? { onProgress: options.onProgress } : {});
}

/**
 * Makes sure that the distribution from Maven can be started.
 *
 * @throws Advice where Java or Maven is missing and may not be installed
 */
export async function provideJava(options: FindOptions): Promise<void> {
  const missing = missingForElasticsearch();
  if (missing.length === 0) return;
  const names = missing.map((one) => one === "java" ? "Java 17 or newer" : "Maven").join(" and ");
  const line = installLine(missing);
  if (options.install && canInstall()) {
    await installMissing(missing, options.log);
    const still = missingForElasticsearch();
    if (still.length === 0) return;
    throw new Advice(
      `${names} cannot be found, although the installation of ${missing.join(" and ")} ended well.`,
    );
  }
  const how = line === null ? `install ${names} with your package manager` : `run: ${line}`;
  const byUs = canInstall() ? " (or let us do it: task demo --install)" : "";
  throw new Advice(
    `Elasticsearch needs ${names}, which this machine lacks; ${how}${byUs}. ` +
      "Or set ELASTICSEARCH_URL to a server of yours, or start docker.",
  );
}
