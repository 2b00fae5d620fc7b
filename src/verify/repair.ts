import type { DeadLetterEntry, TakenDocument } from "../checkpoint/types.ts";
import { type DeadLetterBox, IndexWriter } from "../documents/index_writer.ts";
import { KeyedWriter, type RequestLimits } from "../documents/keyed_writer.ts";
import type { ServerClock } from "../documents/server_clock.ts";
import type { ServerMoment } from "../documents/source_clock.ts";
import type { SourceSession } from "../documents/source_session.ts";
import type { PgsyncError } from "../errors/error.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import { BulkBody } from "../search/bulk_body.ts";
import { BulkWriter } from "../search/bulk_writer.ts";
import type { SearchClient } from "../search/client.ts";
import { Semaphore } from "../search/semaphore.ts";
import { documentVersion } from "../search/version.ts";
import type { Comparison, Difference } from "./comparison.ts";

/** What repairing works with. */
export interface RepairOptions {
  readonly mapped: MappedDocument;
  readonly generation: string;
  readonly session: SourceSession;
  readonly clock: ServerClock;
  readonly search: SearchClient;
  readonly comparison: Comparison;
  readonly limits: RequestLimits;
  /** Requests under way at once. */
  readonly concurrency: number;
  readonly onFault: (fault: PgsyncError) => void;
  /**
   * Refuses where documents are built in another way by now. Asked after the position of their version was read: where the tables are
   * altered later, what the sync writes then has a greater version, and stays.
   */
  readonly checkSource: () => Promise<void>;
}

/**
 * Brings documents that differ up to date, by the same path as the stream's, while another process may follow the
 * stream and write the same documents.
 *
 * A version here is made of a position that is read before the document is built, as everywhere, but without the bit of
 * the stream and without the numbers that tell batches at one position apart. A change that was not visible yet when the
 * document was built is carried out by the stream with a position that it reads later; so its version is greater, even
 * where the position is the same: it replaces what was written here, or this comes too late and is refused as a conflict.
 * Whatever was written before a repair has a smaller version, for the repair first moves the position by a message of
 * its own.
 *
 * One case is left. A sync that reads documents of a replica makes versions of the replica's position, which may lie
 * behind that of a commit which is on disk and not visible yet: the stream's document for it would be the older one.
 * So whoever repairs lets the stream pass, looks again, and repairs again where that is needed.
 */
export class Repair {
  /** What the search engine or PostgreSQL refused, by id. The checkpoint file is the sync's, so it is kept here. */
  readonly refused = new Map<string, string>();
  readonly #index: IndexWriter;
  readonly #keyed: KeyedWriter;

  constructor(private readonly options: RepairOptions) {
    const { mapped, generation, session, clock, search, limits, concurrency, onFault } = options;
    this.#index = new IndexWriter({
      mapped,
      generation,
      client: search,
      bulk: new BulkWriter({
        client: search,
        generation,
        semaphore: new Semaphore(concurrency),
        onRetry: onFault,
      }),
      checkpoint: this.#deadLetters(),
      newestVersion: () => clock.newestVersion(),
      observe: () => {},
    });
    this.#keyed = new KeyedWriter(
      this.#index,
      session,
      limits,
      concurrency,
      () => this.#laterMoment(),
      onFault,
    );
  }

  /**
   * Writes the documents that are missing or different and removes those that are extra. Whether that has helped, another
   * comparison tells.
   *
   * @throws PgsyncError of PostgreSQL or the search engine that is not temporary; the signal's reason
   */
  async mend(differences: readonly Difference[], signal: AbortSignal): Promise<void> {
    const keys = differences.flatMap(({ kind, key }) => kind === "extra" ? [] : key ?? []);
    if (keys.length > 0) {
      const moment = await this.#moment(signal);
      await this.#keyed.write([keys], { moment, source: "verify", position: null }, signal);
    }
    const extra = differences.filter(({ kind }) => kind === "extra").map(({ id }) => id);
    if (extra.length > 0) await this.#remove(extra, signal);
  }

  /** By their ids, for some may be those of no key. They are looked at once more after the position was read. */
  async #remove(ids: readonly string[], signal: AbortSignal): Promise<void> {
    for (;;) {
      const version = documentVersion({ ...await this.#moment(signal), fromStream: false });
      const builtAt = Date.now();
      const body = new BulkBody();
      for (const { id } of await this.options.comparison.extra(ids, signal)) body.delete(id, version);
      if (body.count === 0) return;
      if (await this.#index.send(body.take(builtAt), "verify", null, signal)) return;
    }
  }

  async #moment(signal: AbortSignal): Promise<ServerMoment> {
    const { session, onFault } = this.options;
    return await session.untilDone(() => this.#laterMoment(), "tell its WAL position", onFault, signal);
  }

  /** A moment later than that of anything written before. */
  async #laterMoment(): Promise<ServerMoment> {
    const { clock, checkSource } = this.options;
    await clock.writeSomething();
    const { timeline, lsn } = await clock.present();
    await checkSource();
    return { timeline, lsn: lsn - lsn % 8n };
  }

  #deadLetters(): DeadLetterBox {
    const { refused } = this;
    return {
      addDeadLetters(entries: readonly DeadLetterEntry[]) {
        for (const { id, reason } of entries) refused.set(id, reason);
        // The report tells them.
        return [];
      },
      deadLetterCount: () => refused.size,
      // Only a reconcile asks.
      listDeadLetters: () => [],
      removeDeadLetters: (_index: string, taken: Iterable<TakenDocument>) =>
        [...taken].filter(({ id }) => refused.delete(id)).length,
    };
  }
}
