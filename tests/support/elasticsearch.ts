/**
 * A real Elasticsearch for tests. `deno task test` starts it once and names it in PGSYNC_TEST_ELASTICSEARCH; a test file that is run
 * alone starts one and stops it at its end.
 */
import { randomBytes } from "node:crypto";
import { after } from "node:test";
import process from "node:process";
import { type ElasticsearchServer, startElasticsearch } from "../../scripts/servers/elasticsearch.ts";

/** An answer of Elasticsearch. */
export interface Answer {
  readonly status: number;
  /** The body, parsed; null where there is none. */
  readonly body: unknown;
}

/** A document as it is stored. `_source` is parsed with JavaScript's numbers: use {@link SharedElasticsearch.sourceText} for digits. */
export interface StoredDocument {
  readonly _id: string;
  readonly _version: number;
  readonly _source: Record<string, unknown>;
}

/** A server that tests share: use index names of your own. */
export interface SharedElasticsearch {
  readonly url: string;
  /** A prefix for index names that nobody else has. Indices that begin with it are removed at the end of the test file. */
  indexName(hint?: string): string;
  /** Sends a request, with a JSON body if one is given. A string is sent as it is (NDJSON). Never throws for a status. */
  request(method: string, path: string, body?: unknown): Promise<Answer>;
  /** The document by realtime GET, which sees it before a refresh does; null where there is none. */
  get(index: string, id: string): Promise<StoredDocument | null>;
  /** The bytes of the document's `_source`, as they were sent; null where there is none. */
  sourceText(index: string, id: string): Promise<string | null>;
  /** All documents of the index by their ids, after a refresh; up to 10,000. */
  all(index: string): Promise<Map<string, Record<string, unknown>>>;
  /** The number of documents, after a refresh. */
  count(index: string): Promise<number>;
}

let shared: Promise<SharedElasticsearch> | undefined;
const started: ElasticsearchServer[] = [];
const names: { url: string; name: string }[] = [];

/** The shared server; started by the first call where the environment names none. */
export function useElasticsearch(): Promise<SharedElasticsearch> {
  shared ??=
    (async () => client(process.env["PGSYNC_TEST_ELASTICSEARCH"] || (await ownElasticsearch()).url))();
  return shared;
}

/** Starts a server of the test's own, to be stopped, paused or set up otherwise. It is stopped at the end of the test file at the latest. */
export async function ownElasticsearch(
  options: Parameters<typeof startElasticsearch>[0] = {},
): Promise<ElasticsearchServer> {
  const server = await startElasticsearch(options);
  started.push(server);
  return server;
}

/** The helper's functions for any server, one of {@link ownElasticsearch} for example. */
export function client(url: string): SharedElasticsearch {
  const request = async (method: string, path: string, body?: unknown): Promise<Answer> => {
    const init: RequestInit = { method };
    if (body !== undefined) {
      init.body = typeof body === "string" ? body : JSON.stringify(body);
      init.headers = {
        "content-type": typeof body === "string" ? "application/x-ndjson" : "application/json",
      };
    }
    const response = await fetch(new URL(path, url), init);
    const text = await response.text();
    return { status: response.status, body: text === "" ? null : JSON.parse(text) };
  };
  const successful = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const answer = await request(method, path, body);
    if (answer.status >= 300) {
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
    return answer.body;
  };
  const path = (index: string, ...rest: string[]) => "/" + [index, ...rest].map(encodeURIComponent).join("/");
  const refresh = (index: string) => successful("POST", path(index, "_refresh"));
  return {
    url,
    request,
    indexName(hint = "test") {
      const name = `${hint}-${process.pid}-${randomBytes(5).toString("hex")}`.toLowerCase();
      names.push({ url, name });
      return name;
    },
    async get(index, id) {
      const { status, body } = await request("GET", path(index, "_doc", id));
      if (status === 404) return null;
      if (!isStoredDocument(body)) {
        throw new Error(`no document in the answer: ${status} ${JSON.stringify(body)}`);
      }
      return body;
    },
    async sourceText(index, id) {
      const response = await fetch(new URL(path(index, "_source", id), url));
      const text = await response.text();
      if (response.status === 404) return null;
      if (!response.ok) throw new Error(`GET _source of ${index}/${id}: ${response.status} ${text}`);
      return text;
    },
    async all(index) {
      await refresh(index);
      const answer = await successful("POST", path(index, "_search"), {
        size: 10_000,
        query: { match_all: {} },
      });
      const hits = hitsOf(answer);
      return new Map(hits.map((hit) => [hit._id, hit._source]));
    },
    async count(index) {
      await refresh(index);
      const answer = await successful("GET", path(index, "_count"));
      if (isRecord(answer) && typeof answer["count"] === "number") return answer["count"];
      throw new Error(`no count in the answer: ${JSON.stringify(answer)}`);
    },
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isStoredDocument(value: unknown): value is StoredDocument {
  return isRecord(value) && typeof value["_id"] === "string" && isRecord(value["_source"]);
}

function hitsOf(answer: unknown): { _id: string; _source: Record<string, unknown> }[] {
  const hits = isRecord(answer) && isRecord(answer["hits"]) ? answer["hits"]["hits"] : undefined;
  if (!Array.isArray(hits)) throw new Error(`no hits in the answer: ${JSON.stringify(answer)}`);
  return hits.map((hit: unknown) => {
    if (isRecord(hit) && typeof hit["_id"] === "string" && isRecord(hit["_source"])) {
      return { _id: hit["_id"], _source: hit["_source"] };
    }
    throw new Error(`not a hit: ${JSON.stringify(hit)}`);
  });
}

after(async () => {
  const own = new Set(started.map((server) => server.url));
  for (const { url, name } of names) {
    if (own.has(url)) continue;
    // Wildcards may be forbidden for deletion, so the names are asked for first. Those behind an alias are listed too.
    const found = await fetch(new URL(`/${name}*?expand_wildcards=all&filter_path=*.aliases`, url));
    const indices = Object.keys(await found.json());
    if (indices.length > 0) {
      await (await fetch(new URL(`/${indices.join(",")}`, url), { method: "DELETE" })).text();
    }
  }
  for (const server of started) await server.stop();
});
