/** An index that is equal to its tables, and ways to damage it by hand. */
import { Buffer } from "node:buffer";
import { z } from "zod";
import { RunMemory } from "../../src/sync/run_memory.ts";
import { SourceSession } from "../../src/documents/source_session.ts";
import { connectPostgres } from "../../src/postgres/connect.ts";
import { connectSearch, type SearchClient } from "../../src/search/client.ts";
import { describeIndex } from "../../src/search/index.ts";
import { readDatabase } from "../../src/sync/database_state.ts";
import { slotName } from "../../src/sync/database_mapping.ts";
import type { Difference } from "../../src/verify/comparison.ts";
import {
  type ComparisonProgress,
  type ComparisonScope,
  differences,
  holdsContents,
} from "../../src/verify/differences.ts";
import type { Bench } from "../integration/support.ts";
import { client } from "../support/elasticsearch.ts";

export const BOOKS_DDL = `
  CREATE TABLE book (id bigint PRIMARY KEY, title text, price numeric, note json);
  CREATE TABLE rating (id bigint PRIMARY KEY, book_id bigint NOT NULL REFERENCES book ON DELETE CASCADE, value bigint, text text);
  CREATE INDEX ON rating (book_id);
  INSERT INTO book
    SELECT n, 'book ' || n, n + 0.10, E'{"a" :\\n 1}' FROM generate_series(1, 300) AS n;
  INSERT INTO rating
    SELECT n, 1 + n % 300, 9007199254740993 + n, 'rating ' || n FROM generate_series(0, 899) AS n;
  ANALYZE;`;

export const BOOKS = `
table: book
children:
  - table: rating
    columns: [id, value, text]
    relationship: { type: one_to_many, variant: object }
`;

/** Changes documents of an index as somebody would who has no business there. */
export class Vandal {
  readonly #search;

  constructor(
    private readonly bench: Bench,
    private readonly index = bench.schema.documents[0]?.index ?? "",
  ) {
    this.#search = client(bench.searchUrl);
  }

  /** Writes a document as it is given. */
  async put(id: string, source: string): Promise<void> {
    await this.#do("PUT", `_doc/${encodeURIComponent(id)}`, source);
  }

  /** Removes a document. */
  async remove(id: string): Promise<void> {
    await this.#do("DELETE", `_doc/${encodeURIComponent(id)}`);
  }

  /** Changes the text of a document. */
  async change(id: string, from: string | RegExp, to: string): Promise<void> {
    const source = await this.source(id);
    const changed = source.replace(from, to);
    if (changed === source) throw new Error(`"${String(from)}" is not in ${source}`);
    await this.put(id, changed);
  }

  async source(id: string): Promise<string> {
    const source = await this.#search.sourceText(this.index, id);
    if (source === null) throw new Error(`no document ${id}`);
    return source;
  }

  async #do(method: string, path: string, body?: string): Promise<void> {
    const url = new URL(`/${encodeURIComponent(this.index)}/${path}?refresh=true`, this.bench.searchUrl);
    const response = await fetch(url, {
      method,
      ...(body === undefined
        ? {}
        : { body: Buffer.from(body), headers: { "content-type": "application/json" } }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  }
}

/** Tells of each answer with documents. */
function listenedTo(search: SearchClient, onAnswer: (ids: number, bytes: number) => void): SearchClient {
  const asked = z.object({ ids: z.array(z.string()) });
  return {
    engine: search.engine,
    version: search.version,
    maxBodyBytes: search.maxBodyBytes,
    describe: () => search.describe(),
    ping: (signal) => search.ping(signal),
    close: () => search.close(),
    request: async (request) => {
      const response = await search.request(request);
      if (request.path.endsWith("/_mget")) {
        onAnswer(asked.parse(request.body).ids.length, response.bytes.length);
      }
      return response;
    },
  };
}

/** What the comparison finds in the first document's index. */
export async function compare(
  bench: Bench,
  scope: ComparisonScope = { kind: "all" },
  settings: {
    readonly chunkRows?: number;
    readonly onProgress?: (progress: ComparisonProgress) => void;
    /** Its memory, unless it is to have one of its own. */
    readonly memory?: RunMemory;
    /** Told of each page of differences. */
    readonly onPage?: (page: readonly Difference[]) => void | Promise<void>;
    /** Told of each answer with documents: how many were asked for, and its bytes. */
    readonly onAnswer?: (ids: number, bytes: number) => void;
  } = {},
): Promise<Difference[]> {
  const { name: database } = bench.database;
  const admin = connectPostgres(bench.options.postgres, { database, purpose: "test", max: 1, kind: "admin" });
  const search = listenedTo(await connectSearch(bench.options.search), settings.onAnswer ?? (() => {}));
  await using session = new SourceSession(bench.options.postgres, database, {
    lookups: 2,
    builders: 2,
    loaders: 2,
  });
  try {
    const { mapping } = await readDatabase(admin, database, bench.schema.documents, slotName(null, database));
    const [mapped] = mapping.documents;
    if (mapped === undefined) throw new Error("no document");
    const index = await describeIndex(search, mapped.schema.index);
    const found: Difference[] = [];
    const generation = index?.generation ?? "";
    const options = {
      mapped,
      generation,
      contents: await holdsContents({ mapped, search, generation }),
      session,
      search,
      memory: (settings.memory ?? new RunMemory(bench.options, 1, 1)).work,
      scope,
      workers: 2,
      places: 10,
      chunkRows: settings.chunkRows ?? 70,
      onFault: () => {},
      ...(settings.onProgress === undefined ? {} : { onProgress: settings.onProgress }),
    };
    for await (const page of differences(options, AbortSignal.timeout(60_000))) {
      found.push(...page);
      await settings.onPage?.(page);
    }
    return found.toSorted((a, b) => a.id < b.id ? -1 : 1);
  } finally {
    await search.close();
    await admin.end({ timeout: 1 });
  }
}
