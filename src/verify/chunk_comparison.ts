import { getLogger } from "@logtape/logtape";
import { copyDocuments } from "../documents/copy_documents.ts";
import { CopyWork, HeldUpError } from "../documents/copy_work.ts";
import { cursorKeys } from "../documents/cursor_keys.ts";
import type { BuiltDocument } from "../documents/document_builder.ts";
import { KeySet } from "../documents/key_set.ts";
import type { SourceSession } from "../documents/source_session.ts";
import type { PgsyncError } from "../errors/error.ts";
import type { Chunk } from "../mapping/chunk_sql.ts";
import { allKeysSql } from "../mapping/document_sql.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { Session } from "../postgres/session.ts";
import { rowFaultOf } from "../postgres/errors.ts";
import type { Comparison, Difference } from "./comparison.ts";

const logger = getLogger(["pgsync", "verify"]);

/** A page of documents is compared when it has so many, or so many bytes. */
const PAGE_DOCUMENTS = 1_000;
const PAGE_BYTES = 512 * 1024;
/** Pages of one chunk that are compared while the next documents are read. */
const PAGES_UNDER_WAY = 2;

/** What the comparison of chunks works with. */
export interface ChunkComparisonOptions {
  readonly mapped: MappedDocument;
  readonly session: SourceSession;
  readonly comparison: Comparison;
  readonly onFault: (fault: PgsyncError) => void;
  /** Told how many more documents were compared; negative where a chunk begins again. */
  readonly onDocuments: (count: number) => void;
}

/**
 * Compares the documents of one chunk of the root table with those of the index, read as the initial load reads them.
 * While a server is away it waits and begins the chunk again.
 *
 * @throws PgsyncError that is not temporary; the signal's reason
 */
export async function compareChunk(
  chunk: Chunk,
  options: ChunkComparisonOptions,
  signal: AbortSignal,
): Promise<Difference[]> {
  const { session, onFault, onDocuments } = options;
  let counted = 0;
  const onCompared = (count: number) => {
    counted += count;
    onDocuments(count);
  };
  return await session.untilDone(
    async () => {
      onDocuments(-counted);
      counted = 0;
      try {
        return await new ChunkReader(options, onCompared, signal).read(chunk);
      } catch (thrown) {
        if (thrown instanceof HeldUpError) {
          logger.info(
            "the search engine is slow or away; documents of index {index} are compared by keys, so that no lock is held",
            {
              index: options.mapped.schema.index,
            },
          );
        } else if (rowFaultOf(thrown) === null) throw thrown;
        // By their keys also where PostgreSQL can make no document of a row: the others are compared.
        onDocuments(-counted);
        counted = 0;
        return await compareByKeys(chunk, options, onCompared, signal);
      }
    },
    "read documents",
    onFault,
    signal,
  );
}

async function compareByKeys(
  chunk: Chunk,
  { mapped, session, comparison }: ChunkComparisonOptions,
  onCompared: (count: number) => void,
  signal: AbortSignal,
): Promise<Difference[]> {
  // All keys first, so that a connection that is lost while the search engine is away costs nothing.
  const keys = new KeySet();
  for await (const page of cursorKeys(session.loaders, allKeysSql(mapped, chunk), [], signal)) {
    for (const key of page) keys.add(key);
  }
  const differences: Difference[] = [];
  for (const page of keys.pages(PAGE_DOCUMENTS)) {
    differences.push(...await comparison.keys(page, signal));
    onCompared(page.length);
  }
  return differences;
}

/** Reads one chunk by COPY and compares page after page. */
class ChunkReader {
  readonly #differences: Difference[] = [];
  #page: BuiltDocument[] = [];
  #pageBytes = 0;

  constructor(
    private readonly options: ChunkComparisonOptions,
    private readonly onCompared: (count: number) => void,
    private readonly signal: AbortSignal,
  ) {}

  async read(chunk: Chunk): Promise<Difference[]> {
    const reserved = await this.options.session.loaders.reserve();
    const work = new CopyWork(PAGES_UNDER_WAY);
    try {
      await this.#readFrom(reserved, chunk, work);
    } finally {
      // Counts must not change after the caller has heard of a failure.
      await work.end();
      reserved.release();
    }
    work.throwFailure();
    return this.#differences;
  }

  async #readFrom(session: Session, chunk: Chunk, work: CopyWork): Promise<void> {
    await copyDocuments(session, this.options.mapped, chunk, {
      onDocument: (id, document) => {
        this.#page.push({ id, document });
        this.#pageBytes += document.length;
      },
      onPiece: () => {
        if (this.#page.length < PAGE_DOCUMENTS && this.#pageBytes < PAGE_BYTES) return;
        this.#compare(work);
        return work.room();
      },
    }, this.signal);
    if (this.#page.length > 0) this.#compare(work);
  }

  /** Begins to compare what was read. */
  #compare(work: CopyWork): void {
    const page = this.#page;
    this.#page = [];
    this.#pageBytes = 0;
    work.begin(() => this.#comparePage(page));
  }

  async #comparePage(page: readonly BuiltDocument[]): Promise<void> {
    this.#differences.push(...await this.options.comparison.built(page, this.signal));
    this.onCompared(page.length);
  }
}
