import { reached } from "../fault_points.ts";
import { BulkBody, type BulkRequest } from "../search/bulk_body.ts";
import { documentVersion } from "../search/version.ts";
import { Semaphore } from "../search/semaphore.ts";
import type { OnFault } from "../retry/patience.ts";
import type { Lsn } from "../replication/lsn.ts";
import { DocumentBuilder, type DocumentCollector } from "./document_builder.ts";
import { inPortions, type Overflow } from "./in_portions.ts";
import type { IndexWriter, WriteSource } from "./index_writer.ts";
import { PortionOfRequests } from "./portion_of_requests.ts";
import { keysOf, type RootKey } from "./root_keys.ts";
import type { ServerMoment } from "./source_clock.ts";
import type { SourceSession } from "./source_session.ts";
import type { WorkMemory } from "./work_memory.ts";
import type { Held } from "../memory/share.ts";

/** Requests are filled so far at the first try, for documents are now larger, now smaller. */
const FILLED = 0.9;

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
    this.#builder = new DocumentBuilder(index.mapped, session, onFault);
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
    const { memory } = this;
    await inPortions(keys, {
      share: memory.documents,
      roomOf: (documents) => memory.roomOfRequest(documents),
      work: (portion, held) => this.#writePortion(portion, held, write, times, signal),
    }, signal);
  }

  async #writePortion(
    keys: readonly RootKey[],
    held: Held,
    write: KeyedWrite,
    times: WriteTimes,
    signal: AbortSignal,
  ): Promise<Overflow | null> {
    const room = held.bytes;
    for (let moment = write.moment;;) {
      const buildStart = performance.now();
      const builtAt = Date.now();
      const version = documentVersion({ ...moment, fromStream: write.source !== "verify" });
      const { pipeline } = this.index.mapped.schema;
      const portion = new PortionOfRequests(this.memory, held, keys.length, version, pipeline);
      const unmakeable = await this.#builder.collect(keys, moment, () => portion.begin(), signal);
      const { overflow } = portion;
      if (overflow !== null) {
        this.index.hasWeighed(portion.documents, portion.bytes);
        portion.discard();
        const [key] = keysOf([overflow.id], this.index.mapped);
        return key === undefined ? overflow : { ...overflow, key };
      }
      this.index.refuse(unmakeable, version, write.source, write.position);
      const requests = portion.requests(builtAt);
      reached("built");
      const bulkStart = performance.now();
      times.buildSeconds += (bulkStart - buildStart) / 1000;
      const sent = await Promise.all(
        requests.map((request) => this.send(request, write, signal)),
      );
      times.bulkSeconds += (performance.now() - bulkStart) / 1000;
      if (sent.every((done) => done)) break;
      held.resize(room);
      // A copy of what grew too old may still be on its way to the index: what is built now must not tie with it.
      moment = await this.#freshMoment(signal);
    }
    times.documents += keys.length;
    return null;
  }

  /**
   * Sends a request. Where a document is refused that the index does not hold, its row is looked for once more: it may have been
   * deleted after it was read, and nobody would hear of that row again.
   *
   * @returns false where the documents grew too old to be sent: they must be built again
   * @throws PgsyncError as `IndexWriter.send` and `write`; the signal's reason
   */
  async send(
    request: BulkRequest,
    write: Pick<KeyedWrite, "source" | "position">,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { done, absent } = await this.index.send(request, write.source, write.position, signal);
    const keys = keysOf(absent, this.index.mapped);
    while (keys.length > 0 && !await this.#deleteGone(keys, write, signal)) {
      /* They are looked for again. */
    }
    return done;
  }

  /** Of documents whose request is held in memory still only ids are kept. @returns false where the deletions grew too old to be sent */
  async #deleteGone(
    keys: readonly RootKey[],
    { source, position }: Pick<KeyedWrite, "source" | "position">,
    signal: AbortSignal,
  ): Promise<boolean> {
    const moment = await this.#freshMoment(signal);
    const builtAt = Date.now();
    const collectors: GoneCollector[] = [];
    const begin = () => {
      const collector = new GoneCollector();
      collectors.push(collector);
      return collector;
    };
    await this.#builder.collect(keys, moment, begin, signal);
    const version = documentVersion({ ...moment, fromStream: source !== "verify" });
    const body = new BulkBody();
    for (const id of collectors.flatMap(({ gone }) => gone)) body.delete(id, version);
    return body.count === 0 || (await this.index.send(body.take(builtAt), source, position, signal)).done;
  }

  #freshMoment(signal: AbortSignal): Promise<ServerMoment> {
    return this.session.untilDone(this.freshMoment, "tell its WAL position", this.onFault, signal);
  }
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
