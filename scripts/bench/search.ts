/** The few requests that the benchmark itself makes of Elasticsearch. */
import { z } from "zod";

const COUNT = z.object({ count: z.number() });
const INDEXING = z.object({
  _all: z.object({ primaries: z.object({ indexing: z.object({ index_total: z.number() }) }) }),
});

/** A client of a server without login. */
export class Search {
  constructor(readonly url: string) {}

  /** Makes an index. @param body its settings and mappings */
  async create(index: string, body: object): Promise<void> {
    await this.#request("PUT", `/${index}`, body);
  }

  /** Changes settings of an index. */
  async set(index: string, settings: object): Promise<void> {
    await this.#request("PUT", `/${index}/_settings`, settings);
  }

  /** How many documents of an index or alias match a query (all, when absent), after a refresh. */
  async count(index: string, query: object = { match_all: {} }): Promise<number> {
    await this.#request("POST", `/${index}/_refresh`);
    return COUNT.parse(await this.#request("POST", `/${index}/_count`, { query })).count;
  }

  /** How many documents have been written into an index or alias since it was made, each time counted. */
  async written(index: string): Promise<number> {
    const path = `/${index}/_stats/indexing?filter_path=_all.primaries.indexing.index_total`;
    return INDEXING.parse(await this.#request("GET", path))._all.primaries.indexing.index_total;
  }

  /** Writes documents as `_bulk` takes them, and waits until they are acknowledged. @throws Error where one is refused */
  async bulk(index: string, lines: string): Promise<void> {
    const answer = await this.#request("POST", `/${index}/_bulk?filter_path=errors`, lines);
    if (JSON.stringify(answer) !== '{"errors":false}') throw new Error(`_bulk refused documents of ${index}`);
  }

  /** Removes an index, also one that is not there. */
  async remove(index: string): Promise<void> {
    await this.#request("DELETE", `/${index}?ignore_unavailable=true`);
  }

  /**
   * A field of a document as the text that stands in its JSON, by realtime GET; undefined where either is missing. The
   * text, because a number would lose its last zeros.
   */
  async text(index: string, id: string, field: string): Promise<string | undefined> {
    const response = await fetch(
      `${this.url}/${index}/_doc/${encodeURIComponent(id)}?_source_includes=${field}&filter_path=_source`,
    );
    return new RegExp(`"${field}"\\s*:\\s*([^,}]*)`).exec(await response.text())?.[1];
  }

  async #request(method: string, path: string, body?: object | string): Promise<unknown> {
    const isText = typeof body === "string";
    const response = await fetch(this.url + path, {
      method,
      ...(body === undefined ? {} : { body: isText ? body : JSON.stringify(body) }),
      headers: { "content-type": isText ? "application/x-ndjson" : "application/json" },
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}: ${text}`);
    return JSON.parse(text);
  }
}
