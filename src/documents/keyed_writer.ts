import { reached } from "../fault_points.ts";
import { BulkBody } from "../search/bulk_body.ts";
import { documentVersion } from "../search/version.ts";
import { Semaphore } from "../search/semaphore.ts";
import type { OnFault } from "../retry/patience.ts";
import type { Lsn } from "../replication/lsn.ts";
import { DocumentBuilder, type DocumentCollector, type UnmakeableDocument } from "./document_builder.ts";
import { inPortions, type Overflow, type Unfinished } from "./in_portions.ts";
import type { IndexWriter, WriteSource } from "./index_writer.ts";
import { PortionOfRequests } from "./portion_of_requests.ts";
import { keysOf, type RootKey } from "./root_keys.ts";
import type { ServerMoment } from "./source_clock.ts";
import type { SourcePatience, SourceSession } from "./source_session.ts";
import type { WorkMemory } from "./work_memory.ts";
import type { Held } from "../memory/share.ts";

/** Requests are filled so far at the first try, for documents are now larger, now smaller. */
const FILLED = 0.9;

/**
 * So long a portion's room is held for PostgreSQL's first row. It may wait for a lock, compute for long, or be away without a word, and others
 * wait for the room.
 */
const LEND_AFTER_MS = 1_000;

/** For what and how keys are written. */
export interface KeyedWrite {
  /** Makes the documents' versions; read before the first of them is built. */
  readonly moment: ServerMoment;
  readonly source: WriteSource;
  /** The position of the changes, kept with documents that are refused; null where it is not known. */
  readonly position: Lsn | null;
}

/** How long the parts of a write took, in seconds, summed over its slices. */
export interface WriteTimes {
  documents: number;
  buildSeconds: number;
  bulkSeconds: number;
}

/**
 * Brings the documents of given root keys up to date: builds each from PostgreSQL as it is now, writes it, or deletes
 * it where its root row is gone. One that PostgreSQL cannot make becomes a dead letter. Documents are never patched, so doing it once too often is harmless.
 */
export class KeyedWriter {
  readonly #builder: DocumentBuilder;
  readonly #slices: Semaphore;

  constructor(
    readonly index: IndexWriter,
    private readonly session: SourceSession,
    private readonly memory: WorkMemory,
    /** Slices that are built or sent at once. */
    concurrency: number,
    /** Gives a moment that nothing built before can have, unless it was built of the same state. */
    private readonly freshMoment: () => Promise<ServerMoment>,
    private readonly onFault: OnFault,
  ) {
    this.#builder = new DocumentBuilder(index.mapped, session);
    this.#slices = new Semaphore(concurrency);
  }

  /**
   * Writes the documents of keys as they come. Returns when all are acknowledged. Each slice waits for its memory, whatever writes beside
   * it.
   *
   * @param pages keys, each at most once in a page
   * @throws PgsyncError of PostgreSQL or the search engine that is not temporary; the signal's reason
   */
  async write(
    pages: AsyncIterable<readonly RootKey[]> | Iterable<readonly RootKey[]>,
    write: KeyedWrite,
    signal: AbortSignal,
  ): Promise<WriteTimes> {
    const times: WriteTimes = { documents: 0, buildSeconds: 0, bulkSeconds: 0 };
    const underWay = new Set<Promise<void>>();
    const failed: { error: unknown }[] = [];
    let waiting: RootKey[] = [];

    const start = async (keys: readonly RootKey[]) => {
      const release = await this.#slices.acquire(signal);
      const slice = this.#writeSlice(keys, write, times, signal)
        .catch((error: unknown) => void failed.push({ error }))
        .finally(() => {
          release();
          underWay.delete(slice);
        });
      underWay.add(slice);
    };

    try {
      for await (const page of pages) {
        waiting = waiting.length === 0 ? [...page] : waiting.concat(page);
        for (let size = this.#sliceSize(); waiting.length >= size; size = this.#sliceSize()) {
          await start(waiting.slice(0, size));
          waiting = waiting.slice(size);
          if (failed.length > 0) break;
        }
        if (failed.length > 0) break;
      }
      if (waiting.length > 0 && failed.length === 0) await start(waiting);
    } finally {
      while (underWay.size > 0) await Promise.all(underWay);
    }
    const [first] = failed;
    if (first !== undefined) throw first.error;
    return times;
  }

  /** As many keys as should fill a request. */
  #sliceSize(): number {
    const { bulkBytes, bulkDocuments } = this.memory;
    const fitting = Math.floor(FILLED * bulkBytes / this.index.averageBytes);
    return Math.max(1, Math.min(bulkDocuments, fitting));
  }

  async #writeSlice(
    keys: readonly RootKey[],
    write: KeyedWrite,
    times: WriteTimes,
    signal: AbortSignal,
  ): Promise<void> {
    const { memory, session, onFault } = this;
    const slice: Slice = {
      ...{ write, times, signal },
      patience: session.patience("build documents", onFault, signal),
      moment: write.moment,
      lendAfterMs: LEND_AFTER_MS,
    };
    await inPortions(keys, {
      share: memory.documents,
      roomOf: (documents) => memory.roomOfRequest(documents),
      work: (portion, held) => this.#writePortion(portion, held, slice),
    }, signal);
  }

  async #writePortion(
    keys: readonly RootKey[],
    held: Held,
    slice: Slice,
  ): Promise<Overflow | Unfinished | null> {
    const { write, times, signal, moment } = slice;
    const { mapped } = this.index;
    const buildStart = performance.now();
    const builtAt = Date.now();
    const version = documentVersion({ ...moment, fromStream: write.source !== "verify" });
    const portion = new PortionOfRequests(this.memory, held, keys.length, version, mapped.schema.pipeline);
    let unmakeable: readonly UnmakeableDocument[];
    try {
      unmakeable = await this.#build(keys, portion, slice);
    } catch (thrown) {
      portion.discard();
      // It may be away, or a table locked, for long.
      slice.lendAfterMs = 0;
      return { outside: () => slice.patience.failed(thrown, moment), again: true };
    }
    slice.patience.succeeded();
    const { overflow } = portion;
    if (overflow !== null && portion.isLent) {
      portion.discard();
      // The next time it comes to its end, however long PostgreSQL takes.
      slice.lendAfterMs = null;
      return { outside: () => Promise.resolve(), again: true };
    }
    slice.lendAfterMs = LEND_AFTER_MS;
    if (overflow !== null) {
      this.index.hasWeighed(portion.documents, portion.bytes);
      portion.discard();
      const [key] = keysOf([overflow.id], mapped);
      return key === undefined ? overflow : { ...overflow, key };
    }
    const requests = portion.requests(builtAt);
    reached("built");
    const bulkStart = performance.now();
    times.buildSeconds += (bulkStart - buildStart) / 1000;
    let unanswered = requests.length;
    const onAnswered = () => {
      if (--unanswered === 0) held.release();
    };
    const [unmade, ...sent] = await Promise.all([
      this.index.refuse(unmakeable, version, write.source, write.position, signal),
      ...requests.map((request) =>
        this.index.send(request, write.source, write.position, signal, onAnswered)
      ),
    ]);
    times.bulkSeconds += (performance.now() - bulkStart) / 1000;
    const again = sent.some(({ done }) => !done);
    if (!again) times.documents += keys.length;
    const outside = async () => {
      await this.removeGone([...unmade, ...sent.flatMap(({ absent }) => absent)], write, signal);
      // A copy of what grew too old may still be on its way to the index: what is built now must not tie with it.
      if (again) slice.moment = await this.#freshMoment(signal);
    };
    return { outside, again };
  }

  /** Room that PostgreSQL leaves empty for long is lent: whoever waits for it may read from another server. */
  async #build(
    keys: readonly RootKey[],
    portion: PortionOfRequests,
    { moment, lendAfterMs, signal }: Slice,
  ): Promise<readonly UnmakeableDocument[]> {
    const timer = lendAfterMs === null ? undefined : setTimeout(() => portion.lend(), lendAfterMs);
    try {
      return await this.#builder.collect(keys, moment, () => portion.begin(), signal);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Of documents that were refused, or could not be made, and that the index does not hold, the rows are looked for once more: they may have been deleted
   * after they were read, and nobody would hear of them again. To be called without memory in hand, for it waits for PostgreSQL.
   *
   * @param absent their ids, as `IndexWriter.send` and `refuse` give them
   * @throws PgsyncError as `IndexWriter.send` and `write`; the signal's reason
   */
  async removeGone(
    absent: readonly string[],
    write: Pick<KeyedWrite, "source" | "position">,
    signal: AbortSignal,
  ): Promise<void> {
    const keys = keysOf(absent, this.index.mapped);
    while (keys.length > 0 && !await this.#deleteGone(keys, write, signal)) {
      /* They are looked for again. */
    }
  }

  /** @returns false where the deletions grew too old to be sent */
  async #deleteGone(
    keys: readonly RootKey[],
    { source, position }: Pick<KeyedWrite, "source" | "position">,
    signal: AbortSignal,
  ): Promise<boolean> {
    const moment = await this.#freshMoment(signal);
    const look = async () => {
      const builtAt = Date.now();
      const collectors: GoneCollector[] = [];
      const begin = () => {
        const collector = new GoneCollector();
        collectors.push(collector);
        return collector;
      };
      await this.#builder.collect(keys, moment, begin, signal);
      return { builtAt, ids: collectors.flatMap(({ gone }) => gone) };
    };
    const { builtAt, ids } = await this.session.untilDone(look, "build documents", this.onFault, signal);
    const version = documentVersion({ ...moment, fromStream: source !== "verify" });
    const body = new BulkBody();
    for (const id of ids) body.delete(id, version);
    return body.count === 0 || (await this.index.send(body.take(builtAt), source, position, signal)).done;
  }

  #freshMoment(signal: AbortSignal): Promise<ServerMoment> {
    return this.session.untilDone(this.freshMoment, "tell its WAL position", this.onFault, signal);
  }
}

/** What is known of a slice while it is written, portion by portion. */
interface Slice {
  readonly write: KeyedWrite;
  readonly times: WriteTimes;
  readonly signal: AbortSignal;
  readonly patience: SourcePatience;
  /** Of the next portion. */
  moment: ServerMoment;
  /** When the room of the next portion is lent, where nothing has come; null: never. */
  lendAfterMs: number | null;
}

/** Keeps the ids whose root row is gone. */
class GoneCollector implements DocumentCollector {
  readonly gone: string[] = [];

  add(id: string, document: Buffer | null): void {
    if (document === null) this.gone.push(id);
  }

  discard(): void {
    this.gone.length = 0;
  }
}
