import { getLogger } from "@logtape/logtape";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { LoadChunkProgress } from "../checkpoint/types.ts";
import type { PgsyncError } from "../errors/error.ts";
import { reached } from "../fault_points.ts";
import { allKeysSql } from "../mapping/document_sql.ts";
import { splitId } from "../mapping/id_sql.ts";
import type { Session } from "../postgres/session.ts";
import { rowFaultOf } from "../postgres/errors.ts";
import type { Held } from "../memory/share.ts";
import { BulkBody, type BulkRequest } from "../search/bulk_body.ts";
import { documentVersion } from "../search/version.ts";
import { copyDocuments } from "../documents/copy_documents.ts";
import { CopyWork, HeldUpError } from "../documents/copy_work.ts";
import { cursorKeys } from "../documents/cursor_keys.ts";
import type { IndexWriter, SentRequest } from "../documents/index_writer.ts";
import type { KeyedWriter } from "../documents/keyed_writer.ts";
import { chunkRange } from "./load_chunks.ts";
import { joinKey } from "../documents/root_keys.ts";
import { NOTHING_TO_SEE, type SourceClock } from "../documents/source_clock.ts";
import type { SourceSession } from "../documents/source_session.ts";
import type { WorkMemory } from "../documents/work_memory.ts";

const logger = getLogger(["pgsync", "load"]);

/** Requests of one chunk that are on their way while the next documents are read. */
const REQUESTS_UNDER_WAY = 2;

/** What the load of an index works with. */
export interface InitialLoadOptions {
  readonly keyed: KeyedWriter;
  readonly session: SourceSession;
  readonly clock: SourceClock;
  readonly checkpoint: Checkpoint;
  readonly memory: WorkMemory;
  /** Chunks read at once. */
  readonly workers: number;
  readonly onFault: (fault: PgsyncError) => void;
  /** Waits until another chunk may be begun. */
  readonly mayGoOn: (signal: AbortSignal) => Promise<void>;
  /** Documents of unfinished chunks that were acknowledged; negative where a chunk begins again. */
  readonly onDocuments: (count: number) => void;
  /** A chunk is done and recorded. */
  readonly onChunk: () => void;
}

/**
 * Loads the chunks of an index that are not done yet, several at once, each recorded when all its documents are
 * acknowledged. It runs beside the stream: a document that the stream has written meanwhile has a greater version, and
 * stays.
 *
 * @throws PgsyncError that is not temporary; the signal's reason
 */
export async function loadChunks(
  chunks: readonly LoadChunkProgress[],
  options: InitialLoadOptions,
  signal: AbortSignal,
): Promise<void> {
  const queue = chunks.filter((chunk) => !chunk.done);
  const stopped = new AbortController();
  const either = AbortSignal.any([signal, stopped.signal]);
  const work = async () => {
    for (let chunk = queue.shift(); chunk !== undefined; chunk = queue.shift()) {
      await options.mayGoOn(either);
      await loadChunk(chunk, options, either);
    }
  };
  const workers = Array.from({ length: Math.max(1, options.workers) }, async () => {
    try {
      await work();
    } catch (thrown) {
      // The others must not go on with a load that has failed.
      stopped.abort(thrown);
      throw thrown;
    }
  });
  await Promise.allSettled(workers);
  signal.throwIfAborted();
  stopped.signal.throwIfAborted();
}

async function loadChunk(
  chunk: LoadChunkProgress,
  options: InitialLoadOptions,
  signal: AbortSignal,
): Promise<void> {
  const { session, checkpoint, keyed, onFault, onChunk, onDocuments } = options;
  const { index } = keyed;
  let acknowledged = 0;
  const beginAgain = () => {
    onDocuments(-acknowledged);
    acknowledged = 0;
  };
  const onAcknowledged = (count: number) => {
    acknowledged += count;
    onDocuments(count);
  };
  let byKeys = false;
  await session.untilDone(
    async () => {
      beginAgain();
      if (!byKeys) {
        const outcome = await new ChunkReader(index, options, onAcknowledged, signal).read(chunk);
        if (outcome.kind === "loaded") return;
        byKeys = true;
        tell(outcome, index.index);
        beginAgain();
      }
      onAcknowledged(await loadByKeys(chunk, options, signal));
    },
    "read a chunk of the initial load",
    onFault,
    signal,
  );
  reached("before-chunk-done");
  checkpoint.chunkDone(index.index, chunk.number, acknowledged);
  onDocuments(-acknowledged);
  onChunk();
}

function tell(outcome: Exclude<ChunkOutcome, { kind: "loaded" }>, index: string): void {
  if (outcome.kind === "held-up") {
    logger.info(
      "the search engine is slow or away; a chunk of index {index} is loaded by keys, so that no lock is held",
      {
        index,
      },
    );
    return;
  }
  const { reason } = outcome;
  logger.warn("a document of index {index} cannot be made ({reason}); its chunk is loaded by keys", {
    index,
    reason,
  });
}

/**
 * Loads a chunk without holding anything in PostgreSQL while it waits for the search engine, however long that takes. A document that
 * cannot be made becomes a dead letter.
 *
 * @returns how many documents
 */
async function loadByKeys(
  chunk: LoadChunkProgress,
  { keyed, session, clock, memory }: InitialLoadOptions,
  signal: AbortSignal,
): Promise<number> {
  const moment = await clock.afterVisible(NOTHING_TO_SEE, signal);
  using lease = await session.lease(session.loaders, moment);
  const statement = allKeysSql(keyed.index.mapped, chunkRange(chunk));
  const keys = cursorKeys(lease.sql, statement, [], signal, memory.pageKeys);
  const { documents } = await keyed.write(keys, { moment, source: "load", position: null }, signal);
  return documents;
}

/** What became of a chunk that was read by COPY. */
type ChunkOutcome =
  | { readonly kind: "loaded" }
  /** PostgreSQL can make no document of some row. */
  | { readonly kind: "unmakeable"; readonly reason: string }
  /** The COPY was given up, for the search engine kept it waiting. */
  | { readonly kind: "held-up" };

/** Beyond the average by so much, the documents of a request still have room for their items. */
const SMALLER_DOCUMENTS = 1.5;

/** What is collected for a request, in memory of its own. */
interface Collected {
  readonly body: BulkBody;
  readonly held: Held;
  /** So many documents have room. */
  readonly most: number;
}

/** A document that was read, as `OnDocument` has it. */
interface Row {
  readonly id: string;
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** Reads one chunk by COPY and sends its documents, their bytes untouched. */
class ChunkReader {
  #collected: Collected | null = null;
  #version = 0n;
  #builtAt = 0;

  constructor(
    private readonly index: IndexWriter,
    private readonly options: InitialLoadOptions,
    private readonly onAcknowledged: (count: number) => void,
    private readonly signal: AbortSignal,
  ) {}

  async read(chunk: LoadChunkProgress): Promise<ChunkOutcome> {
    const reserved = await this.options.session.loaders.reserve();
    try {
      await this.#readFrom(reserved, chunk);
      return { kind: "loaded" };
    } catch (thrown) {
      if (thrown instanceof HeldUpError) return { kind: "held-up" };
      const fault = rowFaultOf(thrown);
      if (fault === null) throw thrown;
      return { kind: "unmakeable", reason: fault.reason };
    } finally {
      reserved.release();
    }
  }

  /** @param session reserved before anything is dated: to wait for one would make the documents look older than they are */
  async #readFrom(session: Session, chunk: LoadChunkProgress): Promise<void> {
    const { clock, memory } = this.options;
    // Until there is room for the first request: here no lock is held, and nothing is dated. It is taken when a row comes, for PostgreSQL may
    // have us wait for one.
    (await memory.documents.acquire(memory.roomOfRequest(this.#mostDocuments()), this.signal)).release();
    const moment = await clock.now(session, this.signal);
    this.#version = documentVersion({ ...moment, fromStream: false });
    this.#builtAt = Date.now();
    const work = new CopyWork(REQUESTS_UNDER_WAY);
    try {
      await copyDocuments(
        session,
        this.index.mapped,
        chunkRange(chunk),
        (id, bytes, start, end) => this.#take({ id, bytes, start, end }, work),
        this.signal,
      );
      this.#flush(work);
    } finally {
      // First, for what is under way may have to be built again, and wait for this very memory.
      this.#discard();
      await work.end();
    }
    work.throwFailure();
  }

  /** @returns a promise only where the COPY has to wait */
  #take(row: Row, work: CopyWork): void | Promise<void> {
    const collected = this.#collected;
    if (collected === null || !this.#fits(collected, row)) return this.#takeIntoNext(row, work);
    return this.#put(collected, row, work);
  }

  async #takeIntoNext(row: Row, work: CopyWork): Promise<void> {
    if (this.#collected !== null) {
      this.#flush(work);
      this.#discard();
      await work.room();
    }
    this.#collected = await this.#begin(work, row);
    await this.#put(this.#collected, row, work);
  }

  #fits({ body }: Collected, { id, start, end }: Row): boolean {
    return body.byteLength + body.mostBytes(id, end - start) <= this.options.memory.bodies.roomFor(0);
  }

  #put(collected: Collected, { id, bytes, start, end }: Row, work: CopyWork): void | Promise<void> {
    const { body, most } = collected;
    body.index(id, this.#version, bytes, start, end);
    if (body.byteLength < this.options.memory.bulkBytes && body.count < most) return;
    this.#flush(work);
    return work.room();
  }

  /** Begins a request with a document, which waits in hand until there is room for it. */
  async #begin(work: CopyWork, { id, start, end }: Row): Promise<Collected> {
    const { memory } = this.options;
    const most = this.#mostDocuments();
    const bytes = new BulkBody(this.index.mapped.schema.pipeline).mostBytes(id, end - start);
    const room = memory.roomOfRequest(most, bytes);
    const held = memory.documents.tryAcquire(room) ??
      await work.patiently((late) => memory.documents.acquire(room, AbortSignal.any([late, this.signal])));
    return { body: new BulkBody(this.index.mapped.schema.pipeline, memory.bodies), held, most };
  }

  /** As many documents as a request holds where they are of the size that they were lately, or somewhat smaller. */
  #mostDocuments(): number {
    const { bulkBytes, bulkDocuments } = this.options.memory;
    const fitting = Math.ceil(SMALLER_DOCUMENTS * bulkBytes / this.index.averageBytes);
    return Math.max(1, Math.min(bulkDocuments, fitting));
  }

  /** Begins to send what is collected. */
  #flush(work: CopyWork): void {
    const collected = this.#collected;
    if (collected === null || collected.body.count === 0) return;
    reached("built");
    work.begin(() => this.#send(collected.body.take(this.#builtAt), collected.held));
    this.#collected = null;
  }

  #discard(): void {
    this.#collected?.body.take(0).release?.();
    this.#collected?.held.release();
    this.#collected = null;
  }

  async #send(request: BulkRequest, held: Held): Promise<void> {
    const { keyed } = this.options;
    let sent: SentRequest;
    try {
      sent = await this.index.send(request, "load", null, this.signal, () => held.release());
    } finally {
      held.release();
    }
    await keyed.removeGone(sent.absent, { source: "load", position: null }, this.signal);
    if (!sent.done) await this.#rebuild(request);
    this.onAcknowledged(request.items.length);
    reached("in-chunk");
  }

  /** Documents that grew too old on the way (the search engine was away, or is slow) are built again, by their keys. */
  async #rebuild(request: BulkRequest): Promise<void> {
    const { keyed, clock } = this.options;
    const width = this.index.mapped.key.length;
    const keys = request.items.map(({ id }) => {
      const values = splitId(id, width);
      if (values === null) throw new RangeError(`"${id}" is no _id of index ${this.index.index}`);
      return joinKey(values);
    });
    const moment = await clock.afterVisible(NOTHING_TO_SEE, this.signal);
    await keyed.write([keys], { moment, source: "load", position: null }, this.signal);
  }
}
