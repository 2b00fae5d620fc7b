import type { PgsyncError } from "../errors/error.ts";
import { toPgsyncError } from "../errors/error.ts";
import { reached } from "../fault_points.ts";
import type { MemoryShare } from "../memory/share.ts";
import { backoffDelay, delay } from "../retry/backoff.ts";
import { BULK_FILTER, readBulkAnswer } from "./bulk_answer.ts";
import type { BulkItem, BulkRequest } from "./bulk_body.ts";
import { type BulkOutcome, Delivery, type WrittenOutcome } from "./bulk_delivery.ts";
import type { SearchClient } from "./client.ts";
import { engineError } from "./errors.ts";
import { writeAlias } from "./generation.ts";
import type { RequestOutcomes } from "./health.ts";
import { InFlight } from "./in_flight.ts";
import { Revivals } from "./revivals.ts";
import type { Semaphore } from "./semaphore.ts";

/**
 * A document older than this is not sent: the engine forgets the versions of deleted documents after
 * `index.gc_deletes` (60 s), and then an old build could bring a deleted document back.
 */
export const STALE_AFTER_MS = 30_000;

const BACKOFF = { baseMs: 100, capMs: 15_000 };

/** What a bulk writer works with. */
export interface BulkWriterOptions {
  readonly client: SearchClient;
  /** The index, as `ensureIndex` named it. */
  readonly generation: string;
  /** Limits the requests under way; shared by all that write to the same search engine. */
  readonly semaphore: Semaphore;
  /** Memory for what has to be copied to be sent again. */
  readonly copies?: MemoryShare;
  readonly health?: RequestOutcomes;
  /** Called before the wait for another attempt. */
  readonly onRetry?: (error: PgsyncError, waitMs: number) => void;
  /** A number from 0 to below 1. */
  readonly random?: () => number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/**
 * Writes documents to one index. One writer serves all that write to an index (load and stream), because it sees to it
 * that a document is never in two requests at once.
 */
export class BulkWriter {
  readonly #options: BulkWriterOptions;
  readonly #inFlight = new InFlight();
  /** What a process that was frozen just before it sent documents may have brought back. */
  readonly revivals: Revivals;
  /** In how many deliveries a document answered 500 while others were taken, by id. */
  readonly #faults = new Map<string, number>();
  readonly #path: string;
  readonly #doing: string;
  readonly #now: () => number;

  constructor(options: BulkWriterOptions) {
    this.#options = options;
    this.#path = `/${encodeURIComponent(writeAlias(options.generation))}/_bulk`;
    this.#doing = `write to "${options.generation}"`;
    this.#now = options.now ?? Date.now;
    this.revivals = new Revivals(options.generation, this.#now);
  }

  /** How many documents are in requests now. */
  get documentsInFlight(): number {
    return this.#inFlight.held;
  }

  /**
   * Sends documents until each is written or refused for good. Everything temporary (no answer, overload, a blocked
   * index) is tried again without end; a request that is too large is divided.
   *
   * @param settle keeps what became of the documents, before any of them is in another request: what is told of a newer build must not be
   *   kept before what is told of an older one
   * @throws PgsyncError SEARCH_LOGIN, INDEX_MISSING or SEARCH_REFUSED; as `settle`
   * @throws the signal's reason, where it is aborted
   */
  async send(
    request: BulkRequest,
    signal: AbortSignal,
    settle: (outcome: WrittenOutcome) => Promise<void> = () => Promise.resolve(),
  ): Promise<BulkOutcome> {
    signal.throwIfAborted();
    if (request.items.length === 0) {
      return new Delivery(request, this.#faults, this.#now()).written(this.#now());
    }
    // The documents first, then the turn: whoever has a turn must not wait for one that has none.
    return await this.exclusively(request.items.map((item) => item.id), async () => {
      const outcome = await this.#inTurn(request, signal);
      reached("after-bulk");
      if (!outcome.stale) await settle(outcome);
      return outcome;
    }, signal);
  }

  /** Does something while none of the documents is in a request. @throws as `work`; the signal's reason */
  async exclusively<T>(ids: Iterable<string>, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const giveBack = await this.#inFlight.acquire(ids, signal);
    try {
      return await work();
    } finally {
      giveBack();
    }
  }

  async #inTurn(request: BulkRequest, signal: AbortSignal): Promise<BulkOutcome> {
    const endTurn = await this.#options.semaphore.acquire(signal);
    try {
      return await this.#deliver(new Delivery(request, this.#faults, this.#now()), signal);
    } finally {
      endTurn();
    }
  }

  async #deliver(delivery: Delivery, signal: AbortSignal): Promise<BulkOutcome> {
    let failures = 0;
    for (let part = delivery.next(); part !== null; part = delivery.next()) {
      const error = await this.#attempt(delivery, part, signal);
      if (error === "stale") return this.#stale(delivery);
      if (error === null) {
        failures = 0;
        this.#options.health?.succeeded(this.#options.generation);
        // Built again, they are what they should be.
        if (delivery.mayHaveRevived) return this.#stale(delivery);
        continue;
      }
      const wait = backoffDelay(failures++, BACKOFF, this.#options.random);
      this.#options.health?.failed(this.#options.generation, error, new Date(this.#now()));
      this.#options.onRetry?.(error, wait);
      await delay(wait, signal);
    }
    releaseBody(delivery);
    this.revivals.settled(delivery.request);
    if (this.#faults.size > 0) { for (const { id } of delivery.request.items) this.#faults.delete(id); }
    return delivery.written(this.#now());
  }

  #stale(delivery: Delivery): BulkOutcome {
    releaseBody(delivery);
    return { stale: true, uncertain: delivery.uncertain };
  }

  /**
   * Sends some items once, unless they have become too old.
   *
   * @returns why they, or some of them, must be sent again; null where they need not
   */
  async #attempt(
    delivery: Delivery,
    part: readonly BulkItem[],
    signal: AbortSignal,
  ): Promise<PgsyncError | "stale" | null> {
    const runs = runsOf(part);
    // Whoever sends waits for nothing but an answer, so what is waited for here comes.
    using _ = runs.length > 1 ? await this.#options.copies?.acquire(bytesIn(runs), signal) : undefined;
    // After that wait, which lasts as long as those before have to wait for their answers.
    if (isStale(delivery.request.builtAt, this.#now())) return "stale";
    const body = bytesOf(delivery.request.body, runs);
    const { client } = this.#options;
    if (client.maxBodyBytes !== null && body.length > client.maxBodyBytes) {
      // Sent all the same, the connection may be cut before the answer (413) can be read.
      const reason =
        `The item has ${body.length} bytes; the engine takes ${client.maxBodyBytes} (http.max_content_length).`;
      delivery.divide(part, { status: 413, type: "http_413", reason });
      return null;
    }
    delivery.count(body);
    reached("before-bulk");
    using attempt = this.revivals.attempt(delivery.request, part);
    try {
      const response = await client.request({
        method: "POST",
        path: this.#path,
        query: { require_alias: true, filter_path: BULK_FILTER },
        body,
        contentType: "application/x-ndjson",
        doing: this.#doing,
        singleAttempt: true,
        signal,
      });
      // An id that is too long, for example, makes the engine refuse the whole request with 400.
      if (response.verdict === "too-large" || (response.verdict === "refused" && response.status === 400)) {
        delivery.answeredEarly = true;
        delivery.divide(part, { status: response.status, ...engineError(response.status, response.body) });
        return null;
      }
      const answer = readBulkAnswer(response, part, this.#doing, attempt.mayRevive);
      delivery.mayHaveRevived ||= attempt.created(answer.created);
      return delivery.settle(answer);
    } catch (thrown) {
      attempt.lost();
      signal.throwIfAborted();
      const error = toPgsyncError(thrown);
      if (error.next !== "retry") throw error;
      delivery.repeat(part);
      return error;
    }
  }
}

/** After an attempt without an answer, or refused before all was read, the old body may still be on its way, so its bytes must stay what they are. */
function releaseBody({ uncertain, answeredEarly, request }: Delivery): void {
  if (!uncertain && !answeredEarly) request.release?.();
}

/** Whether documents have become too old to be sent. A clock that was set back makes their age unknown: that counts as old. */
export function isStale(builtAt: number, now: number): boolean {
  const age = now - builtAt;
  return age > STALE_AFTER_MS || age < 0;
}

/** Bytes of a body that stand together. */
interface Run {
  readonly start: number;
  end: number;
}

/** Where the lines of some items lie. */
function runsOf(items: readonly BulkItem[]): Run[] {
  const runs: Run[] = [];
  for (const { start, end } of items) {
    const last = runs.at(-1);
    if (last?.end === start) last.end = end;
    else runs.push({ start, end });
  }
  return runs;
}

function bytesIn(runs: readonly Run[]): number {
  return runs.reduce((sum, { start, end }) => sum + end - start, 0);
}

/** No bytes are copied where they stand together. */
function bytesOf(body: Buffer, runs: readonly Run[]): Buffer {
  const [only] = runs;
  if (only !== undefined && runs.length === 1) return body.subarray(only.start, only.end);
  return Buffer.concat(runs.map(({ start, end }) => body.subarray(start, end)));
}
