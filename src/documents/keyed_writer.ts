import { reached } from "../fault_points.ts";
import { documentVersion } from "../search/version.ts";
import { BodyMemory, BulkBody, type BulkRequest } from "../search/bulk_body.ts";
import { Semaphore } from "../search/semaphore.ts";
import type { OnFault } from "../retry/patience.ts";
import type { Lsn } from "../replication/lsn.ts";
import { DocumentBuilder, type DocumentCollector } from "./document_builder.ts";
import type { IndexWriter, WriteSource } from "./index_writer.ts";
import type { RootKey } from "./root_keys.ts";
import type { ServerMoment } from "./source_clock.ts";
import type { SourceSession } from "./source_session.ts";

/** The size of the requests that a writer makes. */
export interface RequestLimits {
  readonly bulkBytes: number;
  readonly bulkDocuments: number;
}

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
  readonly #memory: BodyMemory;

  constructor(
    readonly index: IndexWriter,
    private readonly session: SourceSession,
    private readonly limits: RequestLimits,
    /** Slices that are built or sent at once. */
    concurrency: number,
    /** Gives a moment that nothing built before can have, unless it was built of the same state. */
    private readonly freshMoment: () => Promise<ServerMoment>,
    private readonly onFault: OnFault,
  ) {
    this.#builder = new DocumentBuilder(index.mapped, session, onFault);
    this.#slices = new Semaphore(concurrency);
    this.#memory = new BodyMemory(limits.bulkBytes);
  }

  /**
   * Writes the documents of keys as they come. Returns when all are acknowledged; memory is bounded by the slices under
   * way.
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
    const fitting = Math.floor(this.limits.bulkBytes / this.index.averageBytes);
    return Math.max(1, Math.min(this.limits.bulkDocuments, fitting));
  }

  async #writeSlice(
    keys: readonly RootKey[],
    write: KeyedWrite,
    times: WriteTimes,
    signal: AbortSignal,
  ): Promise<void> {
    for (let moment = write.moment;;) {
      const buildStart = performance.now();
      const builtAt = Date.now();
      const version = documentVersion({ ...moment, fromStream: write.source !== "verify" });
      const collect = () => new RequestCollector(this.#newBody(), version, builtAt, this.limits.bulkBytes);
      const { parts, unmakeable } = await this.#builder.collect(keys, moment, collect, signal);
      this.index.refuse(unmakeable, version, write.source, write.position);
      const requests = parts.flatMap((part) => part.requests());
      reached("built");
      const bulkStart = performance.now();
      times.buildSeconds += (bulkStart - buildStart) / 1000;
      const sent = await Promise.all(
        requests.map((request) => this.index.send(request, write.source, write.position, signal)),
      );
      times.bulkSeconds += (performance.now() - bulkStart) / 1000;
      if (sent.every((done) => done)) break;
      // A copy of what grew too old may still be on its way to the index: what is built now must not tie with it.
      moment = await this.session.untilDone(this.freshMoment, "tell its WAL position", this.onFault, signal);
    }
    times.documents += keys.length;
  }

  #newBody(): BulkBody {
    return new BulkBody(this.index.mapped.schema.pipeline, this.#memory);
  }
}

/** Makes requests of the documents of one statement. */
class RequestCollector implements DocumentCollector {
  readonly #requests: BulkRequest[] = [];

  /** @param builtAt when the documents began to be read, in milliseconds since 1970 */
  constructor(
    private readonly body: BulkBody,
    private readonly version: bigint,
    private readonly builtAt: number,
    private readonly bulkBytes: number,
  ) {}

  add(id: string, document: Buffer | null): void {
    if (document === null) this.body.delete(id, this.version);
    else this.body.index(id, this.version, document);
    if (this.body.byteLength >= this.bulkBytes) this.#requests.push(this.body.take(this.builtAt));
  }

  discard(): void {
    // Nothing of it was sent.
    for (const request of this.requests()) request.release?.();
  }

  requests(): readonly BulkRequest[] {
    if (this.body.count > 0) this.#requests.push(this.body.take(this.builtAt));
    return this.#requests;
  }
}
