import type { ChangeBatch } from "./change_batch.ts";
import type { Lsn } from "../replication/lsn.ts";
import { touchedKeys } from "./impact.ts";
import type { KeyedWriter } from "../documents/keyed_writer.ts";
import type { SourceClock } from "../documents/source_clock.ts";
import type { ReconcileOptions } from "./reconcile.ts";

/** How long the parts of a batch took, in seconds; building and sending summed over all its documents. */
export interface BatchTimes {
  readonly documents: number;
  readonly visibilitySeconds: number;
  readonly impactSeconds: number;
  readonly buildSeconds: number;
  readonly bulkSeconds: number;
}

/**
 * Carries a batch of changes through to the search engine:
 * visible? → which root keys? → build their documents → bulk → acknowledged.
 */
export class BatchProcessor {
  constructor(
    private readonly options: ReconcileOptions,
    private readonly clock: SourceClock,
    /** One for each index. */
    private readonly writers: readonly KeyedWriter[],
  ) {}

  /**
   * Returns when every document that the batch touches is acknowledged. While PostgreSQL or the search engine is away it
   * waits and begins again: documents are built from the present, so doing it twice is harmless.
   *
   * @throws PgsyncError that is not temporary; the signal's reason
   */
  async process(batch: ChangeBatch, signal: AbortSignal): Promise<BatchTimes> {
    const { session, onFault } = this.options;
    return await session.untilDone(
      () => this.#once(batch, signal),
      "look up changed documents",
      onFault,
      signal,
    );
  }

  async #once(batch: ChangeBatch, signal: AbortSignal): Promise<BatchTimes> {
    const started = performance.now();
    // Before the look-up as well as before the building: edges above a change are looked up in the tables as they are,
    // so the batch's own changes must be there.
    const moment = await this.clock.afterVisible(batch, signal);
    const visible = performance.now();
    let lookUp = 0;
    const position = placeOf(batch);
    const written = await Promise.all(this.writers.map(async (writer) => {
      const pages = touchedKeys(batch, writer.index, this.options, moment, signal);
      const timed = timedPages(pages, (seconds) => lookUp += seconds);
      return await writer.write(timed, { moment, source: "stream", position }, signal);
    }));
    const sum = (part: (times: typeof written[number]) => number) =>
      written.reduce((total, times) => total + part(times), 0);
    return {
      documents: sum((times) => times.documents),
      visibilitySeconds: (visible - started) / 1000,
      impactSeconds: lookUp,
      buildSeconds: sum((times) => times.buildSeconds),
      bulkSeconds: sum((times) => times.bulkSeconds),
    };
  }
}

/** Where in the WAL the changes are; null where none is the reason. The batch's position is known where a transaction ended in it. */
function placeOf({ position, commitLsn }: ChangeBatch): Lsn | null {
  return position ?? (commitLsn === 0n ? null : commitLsn);
}

/** Hands the pages on and tells how long each took to come. */
async function* timedPages<T>(pages: AsyncIterable<T>, onWait: (seconds: number) => void): AsyncGenerator<T> {
  let asked = performance.now();
  for await (const page of pages) {
    onWait((performance.now() - asked) / 1000);
    yield page;
    asked = performance.now();
  }
  onWait((performance.now() - asked) / 1000);
}
