/** Elasticsearch in a container of the official image, where a docker engine answers. */
import { spawnSync } from "node:child_process";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { DEFAULT_VERSION, isHealthy, type SearchServer } from "./elasticsearch.ts";
import { beforeTheEnd, isAlive, runToEnd } from "./process.ts";
import type { OnProgress } from "./progress.ts";

const IMAGE = `elasticsearch:${DEFAULT_VERSION}`;
const LABEL = "pgsync-edge.pid";
const START_TIMEOUT_MS = 120_000;
const ENGINE_TIMEOUT_MS = 10_000;

/**
 * True where a docker engine of this machine answers. One that is elsewhere (DOCKER_HOST) would publish the port on its own
 * loopback interface, so it is not used.
 */
export function dockerAnswers(): boolean {
  const host = process.env["DOCKER_HOST"];
  if (host && !host.startsWith("unix:") && !host.startsWith("npipe:")) return false;
  return spawnSync("docker", ["info"], { stdio: "ignore", timeout: ENGINE_TIMEOUT_MS }).status === 0;
}

/**
 * Runs a single node without security on a free loopback port. The container is removed by `stop`, and in any case at the end of the
 * script; one whose script was killed is removed by the next.
 *
 * @throws Error with docker's or the server's words where it does not start
 */
export async function startElasticsearchInDocker(onProgress?: OnProgress): Promise<SearchServer> {
  await removeAbandoned();
  onProgress?.(`docker pull ${IMAGE}`, 0, null);
  await docker("pull", "--quiet", IMAGE);
  const container = (await docker(
    ...["run", "--detach", "--rm", "--label", `${LABEL}=${process.pid}`],
    ...["--publish", "127.0.0.1::9200"],
    ...["--env", "discovery.type=single-node"],
    ...["--env", "xpack.security.enabled=false"],
    ...["--env", "cluster.routing.allocation.disk.threshold_enabled=false"],
    ...["--env", "ES_JAVA_OPTS=-Xms512m -Xmx512m"],
    IMAGE,
  )).trim();
  let removed = false;
  const remove = async () => {
    if (removed) return;
    removed = true;
    await docker("rm", "--force", "--volumes", container);
  };
  beforeTheEnd(remove);
  try {
    const address = (await docker("port", container, "9200/tcp")).split("\n")[0]?.trim() ?? "";
    const port = Number(/^127\.0\.0\.1:(\d+)$/.exec(address)?.[1]);
    if (!Number.isInteger(port)) {
      throw new Error(`docker published no port on the loopback interface: ${address}`);
    }
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!await isHealthy(port)) {
      if (Date.now() > deadline) {
        throw new Error(
          `${IMAGE} was not ready in time:\n${await docker("logs", "--tail", "30", container)}`,
        );
      }
      // Fails when the container has ended, with --rm it is gone then.
      await docker("inspect", "--format", "{{.State.Running}}", container);
      await delay(200);
    }
    return {
      url: `http://127.0.0.1:${port}`,
      version: DEFAULT_VERSION,
      description: `Elasticsearch ${DEFAULT_VERSION} in a docker container`,
      stop: remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

function docker(...args: string[]): Promise<string> {
  return runToEnd({ command: "docker", args });
}

async function removeAbandoned(): Promise<void> {
  const list = await docker("ps", "--filter", `label=${LABEL}`, "--format", `{{.ID}} {{.Label "${LABEL}"}}`);
  for (const line of list.split("\n")) {
    const [container, pid] = line.split(" ");
    if (container && pid && !isAlive(Number(pid))) await docker("rm", "--force", "--volumes", container);
  }
}
