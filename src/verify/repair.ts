import type { DeadLetterEntry, TakenDocument } from "../checkpoint/types.ts";
import type { DeadLetterBox } from "../documents/index_writer.ts";
import { BYTES_AN_ITEM } from "../documents/work_memory.ts";
import { BulkBody } from "../search/bulk_body.ts";
import { documentVersion } from "../search/version.ts";
import type { Comparison, Difference } from "./comparison.ts";
import { OutsideWriter, type OutsideWriterOptions } from "./outside_writer.ts";

/** What repairing works with. */
export interface RepairOptions extends OutsideWriterOptions {
  readonly comparison: Comparison;
}

/**
 * Brings documents that differ up to date, while another process may follow the stream and write the same documents:
 * `OutsideWriter` says why that is right, and in which case it is not. So whoever repairs lets the stream pass, looks
 * again, and repairs again where that is needed.
 */
export class Repair {
  /** What the search engine or PostgreSQL refused, by id. The checkpoint file is the sync's, so it is kept here. */
  readonly refused = new Map<string, string>();
  readonly #writer: OutsideWriter;

  constructor(private readonly options: RepairOptions) {
    this.#writer = new OutsideWriter(options, this.#deadLetters());
  }

  /**
   * Writes the documents that are missing or different and removes those that are extra. Whether that has helped, another
   * comparison tells.
   *
   * @throws PgsyncError of PostgreSQL or the search engine that is not temporary; the signal's reason
   */
  async mend(differences: readonly Difference[], signal: AbortSignal): Promise<void> {
    const keys = differences.flatMap(({ kind, key }) => kind === "extra" ? [] : key ?? []);
    await this.#writer.write(keys, signal);
    const extra = differences.filter(({ kind }) => kind === "extra").map(({ id }) => id);
    if (extra.length > 0) await this.#remove(extra, signal);
  }

  /** By their ids, for some may be those of no key. They are looked at once more after the position was read. */
  async #remove(ids: readonly string[], signal: AbortSignal): Promise<void> {
    for (;;) {
      const version = documentVersion({ ...await this.#writer.moment(signal), fromStream: false });
      const builtAt = Date.now();
      const body = new BulkBody();
      for (const { id } of await this.options.comparison.extra(ids, signal)) body.delete(id, version);
      if (body.count === 0) return;
      const { documents } = this.options.memory;
      using held = await documents.acquire(body.byteLength + body.count * BYTES_AN_ITEM, signal);
      const { index } = this.#writer;
      const release = () => held.release();
      if ((await index.send(body.take(builtAt), "verify", null, signal, release)).done) return;
    }
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
      deadLetterIds: () => [],
      removeDeadLetters: (_index: string, taken: Iterable<TakenDocument>) =>
        [...taken].filter(({ id }) => refused.delete(id)).length,
    };
  }
}
