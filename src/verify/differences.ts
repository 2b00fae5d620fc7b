import { cursorKeys } from "../documents/cursor_keys.ts";
import { keyBounds } from "../documents/key_bounds.ts";
import { KeySet } from "../documents/key_set.ts";
import type { RootKey } from "../documents/root_keys.ts";
import type { SourceSession } from "../documents/source_session.ts";
import { bytesOfDifferences, type WorkMemory } from "../documents/work_memory.ts";
import { toPgsyncError } from "../errors/error.ts";
import type { Chunk } from "../mapping/chunk_sql.ts";
import { sampleKeysSql } from "../mapping/document_sql.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { Lsn } from "../replication/lsn.ts";
import { delay } from "../retry/backoff.ts";
import type { OnFault } from "../retry/patience.ts";
import type { SearchClient } from "../search/client.ts";
import { refresh } from "../search/refresh.ts";
import { listDocuments, type ListedDocument, type Listing } from "../search/listing.ts";
import { storesSource } from "../search/stored_source.ts";
import { versionParts } from "../search/version.ts";
import { type ChunkComparisonOptions, compareByCursor, compareChunk } from "./chunk_comparison.ts";
import { Comparison, type Difference } from "./comparison.ts";
import { inParallel } from "./in_parallel.ts";

/** Which documents are compared. */
export type ComparisonScope =
  | { readonly kind: "all" }
  /** So many roots of PostgreSQL and so many documents of the index, chosen at random. */
  | { readonly kind: "sample"; readonly size: number }
  /** Those that the index holds in a version made at this position or later. */
  | { readonly kind: "since"; readonly lsn: Lsn };

/** How far a comparison is. */
export interface ComparisonProgress {
  /** Documents that PostgreSQL has and that were compared. */
  readonly compared: number;
  /** Ids of the index that were looked for in PostgreSQL. */
  readonly listed: number;
}

/** What a comparison of an index with its table works with. */
export interface DifferencesOptions {
  readonly mapped: MappedDocument;
  /** The index behind the alias. */
  readonly generation: string;
  /** Its `loaders` are read by as many at once as `workers` says. */
  readonly session: SourceSession;
  readonly search: SearchClient;
  readonly memory: WorkMemory;
  /** All documents unless given. */
  readonly scope?: ComparisonScope;
  /** The index holds the contents of its documents as PostgreSQL made them (`holdsContents`); else only their existence is compared. */
  readonly contents: boolean;
  /** Chunks compared at once. */
  readonly workers: number;
  /** Rows of a chunk, about. */
  readonly chunkRows: number;
  /** So many places of a document that differs are told; 0: documents are compared by their bytes only. */
  readonly places: number;
  readonly onFault: OnFault;
  readonly onProgress?: (progress: ComparisonProgress) => void;
}

/** How long a listing that broke off waits before it begins again. */
const LISTING_PAUSE_MS = 1_000;
/** Documents that are compared by their ids, at once. */
const PAGE = 1_000;
/** Tables of at least so many rows are not read wholly for a sample. */
const LARGE_TABLE_ROWS = 100_000;
/** How many times the sample the pages that are looked at should hold. */
const SAMPLE_SURPLUS = 5;

/** Whether an index holds the contents of its documents as PostgreSQL made them. @throws PgsyncError of the search engine */
export async function holdsContents(
  { mapped, search, generation }: Pick<DifferencesOptions, "mapped" | "search" | "generation">,
  signal?: AbortSignal,
): Promise<boolean> {
  // What an ingest pipeline makes of a document is its own matter.
  return mapped.schema.pipeline === null && await storesSource(search, generation, signal);
}

/**
 * What differs between an index and its table, page by page and in bounded memory, as of the moment at which each document is
 * looked at. Whether a difference counts is for the caller to decide: while a sync runs, a document may be on its way.
 *
 * Documents are read of PostgreSQL by ranges of the key, so that no row is left out because it has moved to another page,
 * and got from the index by their ids. The index cannot be read in the order of its ids (`_id` has no doc values), so what it
 * holds beyond is found by listing all ids and asking PostgreSQL which have a row.
 *
 * @throws PgsyncError of PostgreSQL or the search engine that is not temporary; the signal's reason
 */
export function differences(
  options: DifferencesOptions,
  signal: AbortSignal,
): AsyncGenerator<readonly Difference[]> {
  return new IndexComparison(options, new Comparison(options), signal).run();
}

class IndexComparison {
  #compared = 0;
  #listed = 0;

  constructor(
    private readonly options: DifferencesOptions,
    private readonly comparison: Comparison,
    private readonly signal: AbortSignal,
  ) {}

  async *run(): AsyncGenerator<readonly Difference[]> {
    const { scope = { kind: "all" } } = this.options;
    switch (scope.kind) {
      case "all":
        yield* this.#allRoots();
        yield* this.#extra();
        break;
      case "sample":
        yield* this.#sampleOfRoots(scope.size);
        yield* this.#byIds({ random: true }, scope.size, 0n);
        break;
      case "since":
        yield* this.#byIds({ versions: true }, Infinity, scope.lsn);
    }
  }

  async *#allRoots(): AsyncGenerator<readonly Difference[]> {
    const { workers } = this.options;
    const chunks = await this.#chunks();
    const options: ChunkComparisonOptions = {
      ...this.options,
      comparison: this.comparison,
      onDocuments: (count) => this.#count(count, 0),
    };
    // What was found is there until it has been taken, and that may last as long as an outage.
    using held = this.options.memory.keys.count(0);
    let waiting = 0;
    const wait = (count: number) => held.resize(bytesOfDifferences(waiting += count));
    const compared = inParallel(chunks, workers, async (chunk, stop) => {
      const found = await compareChunk(chunk, options, stop);
      wait(found?.length ?? 0);
      return found;
    }, this.signal);
    for await (const found of compared) {
      if (found === null) {
        yield* compareByCursor(options, this.signal);
        continue;
      }
      yield found;
      wait(-found.length);
    }
  }

  /** A plain view is read in one piece: each part of it would be made of its tables anew. */
  async #chunks(): Promise<Chunk[]> {
    const { mapped, session, memory, onFault } = this.options;
    const chunkRows = memory.chunkRows(this.options.chunkRows);
    if (mapped.root.relation.kind === "view") return [{ kind: "whole" }];
    const bounds = await session.untilDone(
      () => keyBounds(session, mapped.root.relation, chunkRows, this.signal),
      "divide a table",
      onFault,
      this.signal,
    );
    const ends = [...bounds, null];
    return ends.map((to, at): Chunk => ({ kind: "keys", from: bounds[at - 1] ?? null, to }));
  }

  async *#extra(): AsyncGenerator<readonly Difference[]> {
    // A listing that begins again gives the same once more. Of very many not all are remembered: to tell one twice is harmless.
    const told = new KeySet();
    const { memory } = this.options;
    using held = memory.keys.count(0);
    yield* inParallel(this.#idsOfIndex({}), this.options.workers, async (page, stop) => {
      const extra = await this.comparison.extra(page.map(({ id }) => id), stop);
      if (told.bytes > memory.rememberedBytes) told.clear();
      const fresh = extra.filter(({ id }) => told.add(id));
      held.resize(told.bytes + bytesOfDifferences(fresh.length));
      this.#count(0, page.length);
      return fresh;
    }, this.signal);
  }

  async *#sampleOfRoots(size: number): AsyncGenerator<readonly Difference[]> {
    const { session, onFault, workers } = this.options;
    const keys = await session.untilDone(
      () => this.#sampleKeys(size),
      "choose documents at random",
      onFault,
      this.signal,
    );
    yield* inParallel(pages(keys), workers, async (page, stop) => {
      const found = await this.comparison.keys(page, stop);
      this.#count(page.length, 0);
      return found;
    }, this.signal);
  }

  /** @param least the least position of a document's version */
  async *#byIds(listing: Listing, most: number, least: Lsn): AsyncGenerator<readonly Difference[]> {
    yield* inParallel(this.#chosen(listing, most, least), this.options.workers, async (page, stop) => {
      const found = await this.comparison.ids(page, stop);
      this.#count(0, page.length);
      return found;
    }, this.signal);
  }

  async *#chosen(listing: Listing, most: number, least: Lsn): AsyncGenerator<string[]> {
    let left = most;
    for await (const documents of this.#idsOfIndex(listing)) {
      const chosen = documents
        .filter(({ version }) => version === null || versionParts(version).lsn >= least)
        .slice(0, left);
      yield* pages(chosen.map(({ id }) => id));
      left -= chosen.length;
      if (left <= 0) return;
    }
  }

  /**
   * The random keys. Of a large table some pages are looked at, chosen at random (TABLESAMPLE SYSTEM), and rows of
   * these; where they hold too few, the whole table is.
   */
  async #sampleKeys(size: number): Promise<RootKey[]> {
    const { mapped, session } = this.options;
    const { relation } = mapped.root;
    const read = async (percent: number | null): Promise<RootKey[]> => {
      const keys: RootKey[] = [];
      const statement = sampleKeysSql(mapped, size, percent);
      const keysAPage = this.options.memory.pageKeys;
      for await (const page of cursorKeys(session.loaders, statement, [], this.signal, keysAPage)) {
        keys.push(...page);
      }
      return keys;
    };
    const percent = 100 * size * SAMPLE_SURPLUS / Math.max(1, relation.estimatedRows);
    const large = relation.heaps.length > 0 && relation.estimatedRows >= LARGE_TABLE_ROWS && percent < 50;
    const some = large ? await read(percent) : [];
    return some.length >= size ? some : await read(null);
  }

  /** The documents that the index holds; where the search engine goes away meanwhile, from the beginning again. */
  async *#idsOfIndex(listing: Listing): AsyncGenerator<readonly ListedDocument[]> {
    const { search, generation, session, onFault } = this.options;
    for (let succeeded: (() => void) | void = undefined;;) {
      await session.untilDone(
        () => refresh(search, generation, this.signal),
        "refresh the index",
        onFault,
        this.signal,
      );
      try {
        for await (const page of listDocuments(search, generation, listing, this.signal)) {
          succeeded?.();
          succeeded = undefined;
          yield page;
        }
        succeeded?.();
        return;
      } catch (thrown) {
        this.signal.throwIfAborted();
        const error = toPgsyncError(thrown);
        if (error.next !== "retry") throw error;
        succeeded = onFault(error);
        await delay(LISTING_PAUSE_MS, this.signal);
      }
    }
  }

  #count(compared: number, listed: number): void {
    this.#compared += compared;
    this.#listed += listed;
    this.options.onProgress?.({ compared: this.#compared, listed: this.#listed });
  }
}

function* pages<T>(items: readonly T[]): Generator<T[]> {
  for (let from = 0; from < items.length; from += PAGE) yield items.slice(from, from + PAGE);
}
