import { getLogger } from "@logtape/logtape";
import { copyDocuments } from "../documents/copy_documents.ts";
import { CopyWork, HeldUpError } from "../documents/copy_work.ts";
import { cursorKeys } from "../documents/cursor_keys.ts";
import type { BuiltDocument } from "../documents/document_builder.ts";
import { KeySet } from "../documents/key_set.ts";
import type { SourceSession } from "../documents/source_session.ts";
import { bytesOfDifferences, type WorkMemory } from "../documents/work_memory.ts";
import type { PgsyncError } from "../errors/error.ts";
import type { Held } from "../memory/share.ts";
import type { Chunk } from "../mapping/chunk_sql.ts";
import { allKeysSql } from "../mapping/document_sql.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { Session } from "../postgres/session.ts";
import { rowFaultOf } from "../postgres/errors.ts";
import type { Comparison, Difference } from "./comparison.ts";

const logger = getLogger(["pgsync", "verify"]);

/** A page of documents is compared when it has so many, or as many bytes as the memory has room for. */
const PAGE_DOCUMENTS = 1_000;
/** Pages of one chunk that are compared while the next documents are read. */
const PAGES_UNDER_WAY = 2;

/** What the comparison of chunks works with. */
export interface ChunkComparisonOptions {
  readonly mapped: MappedDocument;
  readonly session: SourceSession;
  readonly memory: WorkMemory;
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
  { mapped, session, memory, comparison }: ChunkComparisonOptions,
  onCompared: (count: number) => void,
  signal: AbortSignal,
): Promise<Difference[]> {
  // All keys first, so that a connection that is lost while the search engine is away costs nothing.
  using held = memory.keys.count(0);
  const keys = new KeySet();
  const statement = allKeysSql(mapped, chunk);
  for await (const page of cursorKeys(session.loaders, statement, [], signal, memory.pageKeys)) {
    for (const key of page) keys.add(key);
    held.resize(keys.bytes);
  }
  const differences: Difference[] = [];
  for (const page of keys.pages(PAGE_DOCUMENTS)) {
    differences.push(...await comparison.keys(page, signal));
    held.resize(keys.bytes + bytesOfDifferences(differences.length));
    onCompared(page.length);
  }
  return differences;
}

/** Documents that were read together, in memory of their own. */
interface Page {
  readonly documents: BuiltDocument[];
  bytes: number;
  readonly held: Held;
}

/** Reads one chunk by COPY and compares page after page. */
class ChunkReader {
  readonly #differences: Difference[] = [];
  readonly #found: Held;
  #page: Page | null = null;
  /** Rows that wait for memory: those of one piece of the COPY. */
  #arrived: BuiltDocument[] = [];

  constructor(
    private readonly options: ChunkComparisonOptions,
    private readonly onCompared: (count: number) => void,
    private readonly signal: AbortSignal,
  ) {
    this.#found = options.memory.keys.count(0);
  }

  async read(chunk: Chunk): Promise<Difference[]> {
    const reserved = await this.options.session.loaders.reserve();
    const work = new CopyWork(PAGES_UNDER_WAY);
    try {
      await this.#readFrom(reserved, chunk, work);
    } finally {
      this.#page?.held.release();
      // Counts must not change after the caller has heard of a failure.
      await work.end();
      this.#found.release();
      reserved.release();
    }
    work.throwFailure();
    return this.#differences;
  }

  async #readFrom(session: Session, chunk: Chunk, work: CopyWork): Promise<void> {
    await copyDocuments(session, this.options.mapped, chunk, {
      onDocument: (id, document) => void this.#arrived.push({ id, document }),
      onPiece: () => this.#take(work),
    }, this.signal);
    this.#compare(work);
  }

  /** @returns a promise only where the COPY has to wait, for nearly every piece is a row */
  #take(work: CopyWork): void | Promise<void> {
    const page = this.#page;
    const [only] = this.#arrived;
    if (page === null || only === undefined || this.#arrived.length > 1 || !this.#fits(page, only)) {
      return this.#takeAll(work);
    }
    this.#arrived = [];
    this.#put(page, only);
  }

  async #takeAll(work: CopyWork): Promise<void> {
    const arrived = this.#arrived;
    this.#arrived = [];
    for (const row of arrived) {
      if (this.#page !== null && !this.#fits(this.#page, row)) {
        this.#compare(work);
        await work.room();
      }
      this.#page ??= await this.#newPage(work, row);
      this.#put(this.#page, row);
    }
  }

  #fits({ documents, bytes }: Page, { document }: BuiltDocument): boolean {
    return documents.length < PAGE_DOCUMENTS &&
      bytes + (document?.length ?? 0) <= this.options.memory.pageBytes;
  }

  #put(page: Page, row: BuiltDocument): void {
    page.documents.push(row);
    page.bytes += row.document?.length ?? 0;
  }

  async #newPage(work: CopyWork, { document }: BuiltDocument): Promise<Page> {
    const { memory } = this.options;
    const room = memory.roomOfPage(PAGE_DOCUMENTS, document?.length);
    const held = memory.documents.tryAcquire(room) ??
      await work.patiently((late) => memory.documents.acquire(room, AbortSignal.any([late, this.signal])));
    return { documents: [], bytes: 0, held };
  }

  /** Begins to compare what was read. */
  #compare(work: CopyWork): void {
    const page = this.#page;
    if (page === null) return;
    work.begin(() => this.#comparePage(page));
    this.#page = null;
  }

  async #comparePage({ documents, held }: Page): Promise<void> {
    const { comparison, memory } = this.options;
    try {
      const most = memory.pageOfRoom(PAGE_DOCUMENTS, held.bytes);
      this.#differences.push(...await comparison.built(documents, most, this.signal));
      this.#found.resize(bytesOfDifferences(this.#differences.length));
    } finally {
      held.release();
    }
    this.onCompared(documents.length);
  }
}
