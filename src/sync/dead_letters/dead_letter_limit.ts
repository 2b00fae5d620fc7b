import { getLogger } from "@logtape/logtape";
import type { PgsyncError } from "../../errors/error.ts";
import { tooManyDeadLetters } from "../../status/dead_letter_limit.ts";
import type { StatusBoard } from "../../status/status_board.ts";

const logger = getLogger(["pgsync", "sync"]);

/** A list that goes over the limit and back with every other document is told once: it must first have fallen to this part of it. */
const TOLD_AGAIN_BELOW = 0.9;

/** What the limit works with. */
export interface DeadLetterLimitOptions {
  readonly database: string;
  /** 0: no limit. */
  readonly max: number;
  /** Dead letters of all indices of the database now. */
  readonly count: () => number;
  readonly board: Pick<StatusBoard, "fault">;
  /** Whether somebody is there to bring the list down while the run waits. */
  readonly daemon: boolean;
}

/**
 * Sees to it that a cause which has thousands of documents refused is noticed: past the limit the run is
 * not ready, and says so. An initial load waits, or it would fill the list with every row of the table; nothing is lost by that,
 * for its rows stay where they are. The stream goes on: the list holds every document that is refused, so its position may
 * move, while a stream that stood still would have the slot keep WAL until the primary's disk is full, and would hold
 * up all documents with which nothing is wrong.
 */
export class DeadLetterLimit {
  #isTold = false;
  /** Who waits until there are few enough. */
  readonly #onBelow = new Set<() => void>();

  constructor(private readonly options: DeadLetterLimitOptions) {}

  /** Looks at the list. To be called when it has changed. */
  check(): void {
    const { database, max, count, board } = this.options;
    const error = this.#error;
    if (error !== null) {
      if (!this.#isTold) board.fault(error);
      this.#isTold = true;
      return;
    }
    for (const tell of this.#onBelow) tell();
    if (!this.#isTold || count() > max * TOLD_AGAIN_BELOW) return;
    this.#isTold = false;
    logger.info("dead letters of database {database} are within the limit again", { database });
  }

  /**
   * Waits until an initial load may go on.
   *
   * @throws PgsyncError DEAD_LETTER_LIMIT where nobody would wait; the signal's reason
   */
  async allowsLoad(signal: AbortSignal): Promise<void> {
    for (let error = this.#error; error !== null; error = this.#error) {
      if (!this.options.daemon) throw error;
      signal.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const onAbort = () => reject(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      this.#onBelow.add(resolve);
      try {
        await promise;
      } finally {
        signal.removeEventListener("abort", onAbort);
        this.#onBelow.delete(resolve);
      }
    }
  }

  /** Refuses to end as if all were well. @throws PgsyncError DEAD_LETTER_LIMIT */
  refuse(): void {
    const error = this.#error;
    if (error !== null) throw error;
  }

  get #error(): PgsyncError | null {
    const { database, count, max } = this.options;
    return tooManyDeadLetters(database, count(), max);
  }
}
