import type { PgsyncError } from "../errors/error.ts";
import type { BulkAnswer, RefusedItem } from "./bulk_answer.ts";
import type { BulkItem, BulkRequest } from "./bulk_body.ts";

/**
 * A document that answers 500 in so many deliveries, while others of the same request are taken, is at fault itself. As
 * each delivery lasts until its documents are too old, a shard that is in trouble for a minute loses nothing. A document
 * that fails alone cannot be told from an outage.
 */
const MOST_FAULTS_OF_A_DOCUMENT = 3;

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

/** What is left to send of a request, and what became of the rest. */
export class Delivery {
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
  /** An answer came that may not have waited for all of the body, which is then read still. */
  answeredEarly = false;
  /** Documents were made of builds that were too old by then. */
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
