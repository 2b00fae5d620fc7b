/** The few requests that the benchmark itself makes of Elasticsearch. */
import { z } from "zod";

const COUNT = z.object({ count: z.number() });

/** A client of a server without login. */
export class Search {
  constructor(readonly url: string) {}

  /** Makes an index. @param body its settings and mappings */
  async create(index: string, body: object): Promise<void> {
    await this.#request("PUT", `/${index}`, body);
  }

  /** How many documents an index or alias holds, after a refresh. */
  async count(index: string): Promise<number> {
    await this.#request("POST", `/${index}/_refresh`);
    return COUNT.parse(await this.#request("GET", `/${index}/_count`)).count;
  }

  /** Removes an index. */
  async remove(index: string): Promise<void> {
    await this.#request("DELETE", `/${index}`);
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

  async #request(method: string, path: string, body?: object): Promise<unknown> {
    const response = await fetch(this.url + path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headers: { "content-type": "application/json" },
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}: ${text}`);
    return JSON.parse(text);
  }
}
