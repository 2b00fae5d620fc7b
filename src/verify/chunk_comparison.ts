import { getLogger } from "@logtape/logtape";
import { copyDocuments } from "../documents/copy_documents.ts";
import { CopyWork, HeldUpError } from "../documents/copy_work.ts";
import { cursorKeys } from "../documents/cursor_keys.ts";
import type { BuiltDocument } from "../documents/document_builder.ts";
import { KeySet } from "../documents/key_set.ts";
import type { RootKey } from "../documents/root_keys.ts";
import type { SourceSession } from "../documents/source_session.ts";
import { bytesOfDifferences, type WorkMemory } from "../documents/work_memory.ts";
import type { Held } from "../memory/share.ts";
import type { Chunk } from "../mapping/chunk_sql.ts";
import { allKeysSql } from "../mapping/document_sql.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { Session } from "../postgres/session.ts";
import { rowFaultOf } from "../postgres/errors.ts";
import type { OnFault } from "../retry/patience.ts";
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
  readonly onFault: OnFault;
  /** Told how many more documents were compared; negative where a chunk begins again. */
  readonly onDocuments: (count: number) => void;
}

/**
 * Compares the documents of one chunk of the root table with those of the index, read as the initial load reads them.
 * While a server is away it waits and begins the chunk again.
 *
 * @returns what differs; null where a whole table has to be read by its keys, or where more of it differs than there is room for: nobody knows how
 * many come, so `compareByCursor` is for that
 * @throws PgsyncError that is not temporary; the signal's reason
 */
export async function compareChunk(
  chunk: Chunk,
  options: ChunkComparisonOptions,
  signal: AbortSignal,
): Promise<Difference[] | null> {
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
        } else if (!(thrown instanceof TooManyDifferencesError) && rowFaultOf(thrown) === null) throw thrown;
        // By their keys also where PostgreSQL can make no document of a row: the others are compared.
        onDocuments(-counted);
        counted = 0;
        if (chunk.kind === "whole") return null;
        return await compareByKeys(chunk, options, onCompared, signal);
      }
    },
    "read documents",
    onFault,
    signal,
  );
}

/**
 * Compares the documents of a whole table by their keys, in memory that does not depend on how many there are. While a server is away it waits
 * and begins again, so a difference may be told twice.
 *
 * @throws PgsyncError that is not temporary; the signal's reason
 */
export async function* compareByCursor(
  { mapped, session, memory, comparison, onFault, onDocuments }: ChunkComparisonOptions,
  signal: AbortSignal,
): AsyncGenerator<readonly Difference[]> {
  const reading: { pages: AsyncGenerator<readonly RootKey[]> | null } = { pages: null };
  let counted = 0;
  const read = async () => {
    if (reading.pages === null) {
      onDocuments(-counted);
      counted = 0;
      reading.pages = cursorKeys(session.loaders, allKeysSql(mapped), [], signal, memory.pageKeys);
    }
    try {
      return await reading.pages.next();
    } catch (thrown) {
      // It is over; the next attempt begins another.
      reading.pages = null;
      throw thrown;
    }
  };
  try {
    for (;;) {
      const page = await session.untilDone(read, "read keys", onFault, signal);
      if (page.done === true) return;
      const found = await comparison.keys(page.value, signal);
      counted += page.value.length;
      onDocuments(page.value.length);
      using _ = memory.keys.count(bytesOfDifferences(found.length));
      yield found;
    }
  } finally {
    await reading.pages?.return(undefined);
  }
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

/** More differs than there is room for. */
class TooManyDifferencesError extends Error {
  constructor() {
    super("more documents differ than have room");
    this.name = "TooManyDifferencesError";
  }
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
  #mostDifferences = Infinity;
  #page: Page | null = null;

  constructor(
    private readonly options: ChunkComparisonOptions,
    private readonly onCompared: (count: number) => void,
    private readonly signal: AbortSignal,
  ) {
    this.#found = options.memory.keys.count(0);
  }

  async read(chunk: Chunk): Promise<Difference[]> {
    // Of other chunks all rows may differ: they have no more.
    if (chunk.kind === "whole") this.#mostDifferences = this.options.memory.chunkRows(Infinity);
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
    await copyDocuments(
      session,
      this.options.mapped,
      chunk,
      (id, bytes, start, end) => this.#take({ id, document: bytes.subarray(start, end) }, work),
      this.signal,
    );
    this.#compare(work);
  }

  /** @returns a promise only where the COPY has to wait */
  #take(row: BuiltDocument, work: CopyWork): void | Promise<void> {
    const page = this.#page;
    if (page === null || !this.#fits(page, row)) return this.#takeIntoNext(row, work);
    this.#put(page, row);
  }

  async #takeIntoNext(row: BuiltDocument, work: CopyWork): Promise<void> {
    if (this.#page !== null) {
      this.#compare(work);
      await work.room();
    }
    this.#page = await this.#newPage(work, row);
    this.#put(this.#page, row);
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
      if (this.#differences.length > this.#mostDifferences) throw new TooManyDifferencesError();
    } finally {
      held.release();
    }
    this.onCompared(documents.length);
  }
}
