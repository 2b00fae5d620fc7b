import type { PgsyncError } from "../errors/error.ts";
import { toPgsyncError } from "../errors/error.ts";
import { reached } from "../fault_points.ts";
import { backoffDelay, delay } from "../retry/backoff.ts";
import { BULK_FILTER, type BulkAnswer, hasCreated, readBulkAnswer, type RefusedItem } from "./bulk_answer.ts";
import type { BulkItem, BulkRequest } from "./bulk_body.ts";
import type { SearchClient } from "./client.ts";
import { engineError } from "./errors.ts";
import { writeAlias } from "./generation.ts";
import type { SearchHealth } from "./health.ts";
import { InFlight } from "./in_flight.ts";
import type { Semaphore } from "./semaphore.ts";

/**
 * A document older than this is not sent: the engine forgets the versions of deleted documents after
 * `index.gc_deletes` (60 s), and then an old build could bring a deleted document back.
 */
export const STALE_AFTER_MS = 30_000;

/** After so long the engine may have forgotten that a document was deleted (`index.gc_deletes`). */
const FORGOTTEN_AFTER_MS = 60_000;

const BACKOFF = { baseMs: 100, capMs: 15_000 };

/**
 * A document that answers 500 in so many deliveries, while others of the same request are taken, is at fault itself. As
 * each delivery lasts until its documents are too old, a shard that is in trouble for a minute loses nothing. A document
 * that fails alone cannot be told from an outage.
 */
const MOST_FAULTS_OF_A_DOCUMENT = 3;

/** What a bulk writer works with. */
export interface BulkWriterOptions {
  readonly client: SearchClient;
  /** The index, as `ensureIndex` named it. */
  readonly generation: string;
  /** Limits the requests under way; shared by all that write to the same search engine. */
  readonly semaphore: Semaphore;
  readonly health?: SearchHealth;
  /** Called before the wait for another attempt. */
  readonly onRetry?: (error: PgsyncError, waitMs: number) => void;
  /** A number from 0 to below 1. */
  readonly random?: () => number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** How a bulk request ended. */
export type BulkOutcome = StaleOutcome | WrittenOutcome;

/** The documents have become too old: build them all again. Some of them, or all, may have been written. */
export interface StaleOutcome {
  readonly stale: true;
  /** As in `WrittenOutcome`. */
  readonly uncertain: boolean;
}

/** Every document was written, was there in a newer version, or was refused for good. */
export interface WrittenOutcome {
  readonly stale: false;
  readonly indexed: number;
  /** Deletions carried out, and those of documents that were not there. */
  readonly deleted: number;
  /** Ids of the documents that the index holds in a newer version. */
  readonly conflicts: readonly string[];
  /** For the dead letters. */
  readonly refused: readonly RefusedItem[];
  /** Bytes sent, repetitions included. */
  readonly bytes: number;
  /** From the first attempt to the last answer, waits included. */
  readonly seconds: number;
  readonly attempts: number;
  /** An attempt ended without an answer about its items, so a copy of it may still be on its way to the index. */
  readonly uncertain: boolean;
}

/**
 * Writes documents to one index. One writer serves all that write to an index (load and stream), because it sees to it
 * that a document is never in two requests at once.
 */
export class BulkWriter {
  readonly #options: BulkWriterOptions;
  readonly #inFlight = new InFlight();
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
  }

  /** How many documents are in requests now. */
  get documentsInFlight(): number {
    return this.#inFlight.held;
  }

  /**
   * Sends documents until each is written or refused for good. Everything temporary (no answer, overload, a blocked
   * index) is tried again without end; a request that is too large is divided.
   *
   * @throws PgsyncError SEARCH_LOGIN, INDEX_MISSING or SEARCH_REFUSED
   * @throws the signal's reason, where it is aborted
   */
  async send(request: BulkRequest, signal: AbortSignal): Promise<BulkOutcome> {
    signal.throwIfAborted();
    if (request.items.length === 0) {
      return new Delivery(request, this.#faults, this.#now()).written(this.#now());
    }
    // The documents first, then the turn: whoever has a turn must not wait for one that has none.
    const giveBack = await this.#inFlight.acquire(request.items.map((item) => item.id), signal);
    try {
      const endTurn = await this.#options.semaphore.acquire(signal);
      try {
        return await this.#deliver(new Delivery(request, this.#faults, this.#now()), signal);
      } finally {
        endTurn();
      }
    } finally {
      giveBack();
    }
  }

  async #deliver(delivery: Delivery, signal: AbortSignal): Promise<BulkOutcome> {
    let failures = 0;
    for (let part = delivery.next(); part !== null; part = delivery.next()) {
      if (isStale(delivery.request.builtAt, this.#now())) {
        return { stale: true, uncertain: delivery.uncertain };
      }
      const error = await this.#attempt(delivery, part, signal);
      if (error === null) {
        failures = 0;
        this.#options.health?.succeeded(this.#options.generation);
        // A process that was frozen for long, just before it sent them, may have brought documents back.
        if (delivery.mayHaveRevived) return { stale: true, uncertain: delivery.uncertain };
        continue;
      }
      const wait = backoffDelay(failures++, BACKOFF, this.#options.random);
      this.#options.health?.failed(this.#options.generation, error, new Date(this.#now()));
      this.#options.onRetry?.(error, wait);
      await delay(wait, signal);
    }
    // After an attempt without an answer, the old body may still be on its way, so its bytes must stay what they are.
    if (!delivery.uncertain) delivery.request.release?.();
    if (this.#faults.size > 0) { for (const { id } of delivery.request.items) this.#faults.delete(id); }
    return delivery.written(this.#now());
  }

  /** Sends some items once. @returns why they, or some of them, must be sent again; null where they need not */
  async #attempt(
    delivery: Delivery,
    part: readonly BulkItem[],
    signal: AbortSignal,
  ): Promise<PgsyncError | null> {
    const body = bytesOf(delivery.request.body, part);
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
        delivery.divide(part, { status: response.status, ...engineError(response.status, response.body) });
        return null;
      }
      const settled = delivery.settle(readBulkAnswer(response, part, this.#doing));
      const age = this.#now() - delivery.request.builtAt;
      delivery.mayHaveRevived ||= age > FORGOTTEN_AFTER_MS && hasCreated(response);
      return settled;
    } catch (thrown) {
      signal.throwIfAborted();
      const error = toPgsyncError(thrown);
      if (error.next !== "retry") throw error;
      delivery.repeat(part);
      return error;
    }
  }
}

/** What is left to send of a request, and what became of the rest. */
class Delivery {
  readonly #parts: (readonly BulkItem[])[];
  /** Documents whose fault in this delivery is counted. */
  readonly #counted = new Set<string>();
  readonly #conflicts: string[] = [];
  readonly #refused: RefusedItem[] = [];
  #indexed = 0;
  #deleted = 0;
  #bytes = 0;
  #attempts = 0;
  /** An attempt ended without an answer about its items. */
  uncertain = false;
  /** Documents were made that were too old by then: another process may have deleted them long before. */
  mayHaveRevived = false;

  /** @param faults of documents in all deliveries; counted on */
  constructor(
    readonly request: BulkRequest,
    private readonly faults: Map<string, number>,
    readonly startedAt: number,
  ) {
    this.#parts = [request.items];
  }

  /** The items to send next; null where none are left. */
  next(): readonly BulkItem[] | null {
    return this.#parts.pop() ?? null;
  }

  count(body: Buffer): void {
    this.#attempts++;
    this.#bytes += body.length;
  }

  repeat(part: readonly BulkItem[]): void {
    this.#parts.push(part);
    this.uncertain = true;
  }

  /** Halves what was refused as a whole, until the item at fault stands alone. */
  divide(part: readonly BulkItem[], fault: { status: number; type: string; reason: string }): void {
    const [only] = part;
    if (only !== undefined && part.length === 1) {
      this.#refused.push({ id: only.id, operation: only.operation, ...fault });
      return;
    }
    const middle = Math.ceil(part.length / 2);
    this.#parts.push(part.slice(middle), part.slice(0, middle));
  }

  /** Takes note of an answer. @returns why some of the items must be sent again; null where none must */
  settle(answer: BulkAnswer): PgsyncError | null {
    this.#indexed += answer.indexed;
    this.#deleted += answer.deleted;
    this.#conflicts.push(...answer.conflicts);
    this.#refused.push(...answer.refused);
    // Where nothing is taken, the engine is in trouble, whatever the documents are.
    const othersTaken = answer.indexed + answer.deleted + answer.conflicts.length > 0;
    const again = answer.again.filter(({ item: { id }, status, refusal }) => {
      if (status !== 500 || !othersTaken || this.#counted.has(id)) return true;
      this.#counted.add(id);
      const faults = (this.faults.get(id) ?? 0) + 1;
      this.faults.set(id, faults);
      if (faults < MOST_FAULTS_OF_A_DOCUMENT) return true;
      this.#refused.push(refusal);
      return false;
    });
    const [first] = again;
    if (first === undefined) return null;
    this.#parts.push(again.map(({ item }) => item));
    return first.error;
  }

  written(now: number): WrittenOutcome {
    return {
      stale: false,
      indexed: this.#indexed,
      deleted: this.#deleted,
      conflicts: this.#conflicts,
      refused: this.#refused,
      bytes: this.#bytes,
      seconds: Math.max(0, now - this.startedAt) / 1000,
      attempts: this.#attempts,
      uncertain: this.uncertain,
    };
  }
}

/** Whether documents have become too old to be sent. A clock that was set back makes their age unknown: that counts as old. */
export function isStale(builtAt: number, now: number): boolean {
  const age = now - builtAt;
  return age > STALE_AFTER_MS || age < 0;
}

/** The lines of some items; no bytes are copied where they stand together. */
function bytesOf(body: Buffer, items: readonly BulkItem[]): Buffer {
  const runs: { start: number; end: number }[] = [];
  for (const { start, end } of items) {
    const last = runs.at(-1);
    if (last?.end === start) last.end = end;
    else runs.push({ start, end });
  }
  const [only] = runs;
  if (only !== undefined && runs.length === 1) return body.subarray(only.start, only.end);
  return Buffer.concat(runs.map(({ start, end }) => body.subarray(start, end)));
}
