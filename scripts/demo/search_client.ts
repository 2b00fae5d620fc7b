/** The few requests that the demo makes of the search engine. Not pgsync's client: the demo checks pgsync. */
import process from "node:process";
import { type ExactObject, isObject, parseExact } from "./digits.ts";

/** A document as it is stored. */
export interface StoredDocument {
  readonly id: string;
  readonly source: ExactObject;
}

export interface SearchClient {
  /** The documents of these ids that exist, by realtime GET, which sees a document before a refresh does. */
  get(index: string, ids: readonly string[]): Promise<Map<string, ExactObject>>;
  /** All documents, in batches. */
  all(index: string): AsyncGenerator<readonly StoredDocument[]>;
  /** The indices of this name or behind this alias. */
  indicesOf(name: string): Promise<readonly string[]>;
  removeIndices(names: readonly string[]): Promise<void>;
}

const BATCH = 1_000;

/** A client of the server at a URL, which may hold user and password. */
export function searchClient(address: string): SearchClient {
  const url = new URL(address);
  const user = decodeURIComponent(url.username) || process.env["ELASTICSEARCH_USER"];
  const password = decodeURIComponent(url.password) || process.env["ELASTICSEARCH_PASSWORD"];
  url.username = url.password = "";
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (user) headers["authorization"] = `Basic ${btoa(`${user}:${password ?? ""}`)}`;

  const request = async (method: string, path: string, body?: unknown) => {
    const init: RequestInit = { method, headers };
    if (body !== undefined) init.body = JSON.stringify(body);
    const response = await fetch(new URL(path, url), init);
    return { status: response.status, text: await response.text() };
  };
  /** The answer's body; `missing` where the status is 404. */
  const answer = async (
    method: string,
    path: string,
    body?: unknown,
    missing?: ExactObject,
  ): Promise<ExactObject> => {
    const { status, text } = await request(method, path, body);
    if (status === 404 && missing !== undefined) return missing;
    const parsed = status < 300 ? parseExact(text) : undefined;
    if (!isObject(parsed)) {
      throw new Error(`${method} ${path} was answered with ${status}: ${text.slice(0, 500)}`);
    }
    return parsed;
  };

  return {
    async get(index, ids) {
      const [only] = ids;
      const found = only !== undefined && ids.length === 1
        ? [await answer("GET", `/${index}/_doc/${encodeURIComponent(only)}`, undefined, {})]
        : (await answer("POST", `/${index}/_mget`, { ids }, {}))["docs"];
      return new Map(documentsIn(found).map(({ id, source }) => [id, source]));
    },
    async *all(index) {
      await answer("POST", `/${index}/_refresh`);
      let page = await answer("POST", `/${index}/_search?scroll=2m`, { size: BATCH, sort: ["_doc"] });
      for (;;) {
        const hits = page["hits"];
        const documents = documentsIn(isObject(hits) ? hits["hits"] : undefined);
        const scroll = page["_scroll_id"];
        if (documents.length === 0) {
          await answer("DELETE", "/_search/scroll", { scroll_id: scroll });
          return;
        }
        yield documents;
        page = await answer("POST", "/_search/scroll", { scroll: "2m", scroll_id: scroll });
      }
    },
    async indicesOf(name) {
      return Object.keys(await answer("GET", `/${name}/_alias`, undefined, {})).filter((key) =>
        !/^(error|status)$/.test(key)
      );
    },
    async removeIndices(names) {
      if (names.length > 0) await answer("DELETE", `/${names.join(",")}`, undefined, {});
    },
  };
}

/** The documents of a list of hits or of answers to GET; those that were not found have no source. */
function documentsIn(list: unknown): StoredDocument[] {
  if (!Array.isArray(list)) return [];
  return list.flatMap((hit) => {
    const id = isObject(hit) ? hit["_id"] : undefined;
    const source = isObject(hit) ? hit["_source"] : undefined;
    return typeof id === "string" && isObject(source) ? [{ id, source }] : [];
  });
}
