import { getLogger } from "@logtape/logtape";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { LoadChunkProgress } from "../checkpoint/types.ts";
import type { PgsyncError } from "../errors/error.ts";
import { reached } from "../fault_points.ts";
import { allKeysSql } from "../mapping/document_sql.ts";
import { splitId } from "../mapping/id_sql.ts";
import type { Session } from "../postgres/session.ts";
import { rowFaultOf } from "../postgres/errors.ts";
import { BodyMemory, BulkBody, type BulkRequest } from "../search/bulk_body.ts";
import { documentVersion } from "../search/version.ts";
import { copyDocuments } from "../documents/copy_documents.ts";
import { CopyWork, HeldUpError } from "../documents/copy_work.ts";
import { cursorKeys } from "../documents/cursor_keys.ts";
import type { IndexWriter } from "../documents/index_writer.ts";
import type { KeyedWriter, RequestLimits } from "../documents/keyed_writer.ts";
import { chunkRange } from "./load_chunks.ts";
import { joinKey } from "../documents/root_keys.ts";
import { NOTHING_TO_SEE, type SourceClock } from "../documents/source_clock.ts";
import type { SourceSession } from "../documents/source_session.ts";

const logger = getLogger(["pgsync", "load"]);

/** Requests of one chunk that are on their way while the next documents are read. */
const REQUESTS_UNDER_WAY = 2;

/** What the load of an index works with. */
export interface InitialLoadOptions {
  readonly keyed: KeyedWriter;
  readonly session: SourceSession;
  readonly clock: SourceClock;
  readonly checkpoint: Checkpoint;
  readonly limits: RequestLimits;
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
  const memory = new BodyMemory(options.limits.bulkBytes);
  const work = async () => {
    for (let chunk = queue.shift(); chunk !== undefined; chunk = queue.shift()) {
      await options.mayGoOn(either);
      await loadChunk(chunk, options, memory, either);
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
  memory: BodyMemory,
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
        const outcome = await new ChunkReader(index, options, memory, onAcknowledged, signal).read(chunk);
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
  { keyed, session, clock }: InitialLoadOptions,
  signal: AbortSignal,
): Promise<number> {
  const moment = await clock.afterVisible(NOTHING_TO_SEE, signal);
  using lease = await session.lease(session.loaders, moment);
  const keys = cursorKeys(lease.sql, allKeysSql(keyed.index.mapped, chunkRange(chunk)), [], signal);
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

/** Reads one chunk by COPY and sends its documents, their bytes untouched. */
class ChunkReader {
  readonly #body: BulkBody;
  #version = 0n;
  #builtAt = 0;

  constructor(
    private readonly index: IndexWriter,
    private readonly options: InitialLoadOptions,
    memory: BodyMemory,
    private readonly onAcknowledged: (count: number) => void,
    private readonly signal: AbortSignal,
  ) {
    this.#body = new BulkBody(index.mapped.schema.pipeline, memory);
  }

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
    const { clock, limits } = this.options;
    const moment = await clock.now(session, this.signal);
    this.#version = documentVersion({ ...moment, fromStream: false });
    this.#builtAt = Date.now();
    const work = new CopyWork(REQUESTS_UNDER_WAY);
    try {
      await copyDocuments(session, this.index.mapped, chunkRange(chunk), {
        onDocument: (id, document) => this.#body.index(id, this.#version, document),
        onPiece: () => {
          if (this.#body.byteLength < limits.bulkBytes && this.#body.count < limits.bulkDocuments) return;
          this.#flush(work);
          return work.room();
        },
      }, this.signal);
      if (this.#body.count > 0) this.#flush(work);
    } finally {
      await work.end();
    }
    work.throwFailure();
  }

  /** Begins to send what is collected. */
  #flush(work: CopyWork): void {
    const request = this.#body.take(this.#builtAt);
    reached("built");
    work.begin(() => this.#send(request));
  }

  async #send(request: BulkRequest): Promise<void> {
    if (!(await this.index.send(request, "load", null, this.signal))) await this.#rebuild(request);
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
