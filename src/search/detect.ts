import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import type { SearchRequest } from "./request.ts";
import type { SearchResponse } from "./response.ts";

/** What a server turned out to be. */
export interface Engine {
  readonly engine: "elasticsearch" | "opensearch";
  readonly version: string;
  /** `http.max_content_length` in bytes; null where the server would not tell. */
  readonly maxBodyBytes: number | null;
}

/** Sends a request during the detection. */
type Send = (request: Omit<SearchRequest, "signal">) => Promise<SearchResponse>;

const rootSchema = z.object({
  version: z.object({ number: z.string(), distribution: z.string().optional() }),
});

const nodesSchema = z.object({
  nodes: z.record(
    z.string(),
    z.object({
      version: z.string().optional(),
      build_flavor: z.string().optional(),
      http: z.object({ max_content_length_in_bytes: z.number().optional() }).optional(),
    }),
  ),
});

/** The oldest versions with all that is used here (`require_alias` came with 7.10). */
const OLDEST = { elasticsearch: [7, 10], opensearch: [2, 0] } as const;

/**
 * Finds out which engine answers, and its version: by `GET /`, and where that is refused (a distribution without the
 * main module answers 405, a user without the cluster's monitor privilege gets 403) by the node's own description.
 *
 * @throws PgsyncError SEARCH_UNREACHABLE, SEARCH_UNAVAILABLE, SEARCH_LOGIN or SEARCH_VERSION
 */
export async function detect(send: Send): Promise<Engine> {
  const root = await send({ method: "GET", path: "/", doing: "say its version" });
  if (root.verdict === "temporary" || root.status === 401) throw root.refusal();
  const nodes = await send({
    method: "GET",
    path: "/_nodes/_local",
    query: { filter_path: "nodes.*.version,nodes.*.build_flavor,nodes.*.http.max_content_length_in_bytes" },
    doing: "describe its node",
  });
  // What it would say later counts for as long as the connection is used.
  if (nodes.verdict === "temporary") throw nodes.refusal();
  const node = firstNode(nodes);
  const maxBodyBytes = node?.http?.max_content_length_in_bytes ?? null;
  const main = rootSchema.safeParse(root.body);
  if (root.status === 200 && main.success) {
    const { number, distribution } = main.data.version;
    const engine = distribution === "opensearch" ? "opensearch" : "elasticsearch";
    return supported({ engine, version: number, maxBodyBytes });
  }
  if (node?.version === undefined) {
    if (nodes.verdict === "login") throw nodes.refusal();
    throw new PgsyncError(
      "SEARCH_VERSION",
      `The server answered as neither Elasticsearch nor OpenSearch would (HTTP ${root.status} to GET /).`,
    );
  }
  // Elasticsearch names itself in a header since 7.14 and its flavour before; OpenSearch does neither.
  const isElasticsearch = nodes.headers["x-elastic-product"] === "Elasticsearch" ||
    node.build_flavor !== undefined;
  return supported({
    engine: isElasticsearch ? "elasticsearch" : "opensearch",
    version: node.version,
    maxBodyBytes,
  });
}

function firstNode(response: SearchResponse) {
  const parsed = nodesSchema.safeParse(response.body);
  return response.status === 200 && parsed.success ? Object.values(parsed.data.nodes)[0] : undefined;
}

/**
 * Checks that an engine is not too old.
 *
 * @throws PgsyncError SEARCH_VERSION
 */
export function supported(found: Engine): Engine {
  const [major = 0, minor = 0] = found.version.split(".").map((part) => Number.parseInt(part, 10));
  const [oldestMajor, oldestMinor] = OLDEST[found.engine];
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return found;
  throw new PgsyncError(
    "SEARCH_VERSION",
    `The server is ${found.engine} ${found.version}, which is too old.`,
  );
}
