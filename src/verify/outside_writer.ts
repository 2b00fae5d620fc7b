import { type DeadLetterBox, IndexWriter } from "../documents/index_writer.ts";
import { KeyedWriter } from "../documents/keyed_writer.ts";
import type { RootKey } from "../documents/root_keys.ts";
import type { ServerClock } from "../documents/server_clock.ts";
import type { ServerMoment } from "../documents/source_clock.ts";
import type { SourceSession } from "../documents/source_session.ts";
import type { WorkMemory } from "../documents/work_memory.ts";
import type { PgsyncError } from "../errors/error.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import { BulkWriter } from "../search/bulk_writer.ts";
import type { SearchClient } from "../search/client.ts";
import { Semaphore } from "../search/semaphore.ts";

/** What writes from outside of the sync. */
export interface OutsideWriterOptions {
  readonly mapped: MappedDocument;
  readonly generation: string;
  readonly session: SourceSession;
  readonly clock: ServerClock;
  readonly search: SearchClient;
  readonly memory: WorkMemory;
  /** Requests under way at once. */
  readonly concurrency: number;
  readonly onFault: (fault: PgsyncError) => void;
  /** A request was answered. */
  readonly onRequest: () => void;
  /**
   * Refuses where documents are built in another way by now. Asked after the position of their version was read: where the tables are
   * altered later, what the sync writes then has a greater version, and stays.
   */
  readonly checkSource: () => Promise<void>;
}

/**
 * Writes documents by the same path as the stream's, while another process may follow the stream and write the same
 * documents.
 *
 * A version here is made of a position that is read before the document is built, as everywhere, but without the bit of
 * the stream and without the numbers that tell batches at one position apart. A change that was not visible yet when the
 * document was built is carried out by the stream with a position that it reads later; so its version is greater, even
 * where the position is the same: it replaces what was written here, or this comes too late and is refused as a conflict.
 * Whatever was written before has a smaller version, for the position is first moved by a message of its own.
 *
 * One case is left. A sync that reads documents of a replica makes versions of the replica's position, which may lie
 * behind that of a commit which is on disk and not visible yet: the stream's document for it would be the older one.
 */
export class OutsideWriter {
  readonly index: IndexWriter;
  readonly #keyed: KeyedWriter;

  /** @param letters where refused documents are kept */
  constructor(private readonly options: OutsideWriterOptions, letters: DeadLetterBox) {
    const { mapped, generation, session, clock, search, memory, concurrency, onFault, onRequest } = options;
    this.index = new IndexWriter({
      mapped,
      generation,
      client: search,
      bulk: new BulkWriter({
        client: search,
        generation,
        semaphore: new Semaphore(concurrency),
        copies: memory.copies,
        onRetry: onFault,
      }),
      checkpoint: letters,
      newestVersion: () => clock.newestVersion(),
      observe: (event) => {
        if (event.type === "bulk") onRequest();
      },
    });
    this.#keyed = new KeyedWriter(
      this.index,
      session,
      memory,
      concurrency,
      () => this.#laterMoment(),
      onFault,
    );
  }

  /**
   * Writes the documents of keys, as `KeyedWriter.write`.
   *
   * @throws PgsyncError of PostgreSQL or the search engine that is not temporary; the signal's reason
   */
  async write(keys: readonly RootKey[], signal: AbortSignal): Promise<void> {
    if (keys.length === 0) return;
    const moment = await this.moment(signal);
    await this.#keyed.write([keys], { moment, source: "verify", position: null }, signal);
  }

  /** A moment later than that of anything written before. @throws as `write` */
  async moment(signal: AbortSignal): Promise<ServerMoment> {
    const { session, onFault } = this.options;
    return await session.untilDone(() => this.#laterMoment(), "tell its WAL position", onFault, signal);
  }

  async #laterMoment(): Promise<ServerMoment> {
    const { clock, checkSource } = this.options;
    await clock.writeSomething();
    const { timeline, lsn } = await clock.present();
    await checkSource();
    return { timeline, lsn: lsn - lsn % 8n };
  }
}
