import { getLogger } from "@logtape/logtape";
import { PgsyncError } from "../errors/error.ts";
import type { StatusBoard } from "../status/status_board.ts";

const logger = getLogger(["pgsync", "sync"]);

/** What the limit works with. */
export interface DeadLetterLimitOptions {
  /** 0: no limit. */
  readonly max: number;
  readonly database: string;
  /** Dead letters of all indices of the database now. */
  readonly count: () => number;
  readonly board: Pick<StatusBoard, "fault">;
  /** Whether somebody is there to bring the list down while the run waits. */
  readonly daemon: boolean;
}

/**
 * A few documents that are refused are a few documents; thousands have one cause, which an operator must mend. Past the limit the run is
 * not ready, and says so. An initial load waits, or it would fill the list with every row of the table; nothing is lost by that,
 * for its rows stay where they are. The stream goes on: the list holds every document that is refused, so its position may
 * move, while a stream that stood still would have the slot keep WAL until the primary's disk is full, and would hold
 * up all documents with which nothing is wrong.
 */
export class DeadLetterLimit {
  #isPast = false;
  #onBelow: (() => void)[] = [];

  constructor(private readonly options: DeadLetterLimitOptions) {}

  /** Looks at the list. To be called when it has changed. */
  check(): void {
    const { max, count, board, database } = this.options;
    const isPast = isPastLimit(count(), max);
    if (isPast === this.#isPast) return;
    this.#isPast = isPast;
    if (isPast) board.fault(this.#error());
    else {
      logger.info("there are no more dead letters of database {database} than the limit allows", { database });
      for (const tell of this.#onBelow.splice(0)) tell();
    }
  }

  /**
   * Waits until an initial load may go on.
   *
   * @throws PgsyncError DEAD_LETTER_LIMIT where nobody would wait; the signal's reason
   */
  async allowsLoad(signal: AbortSignal): Promise<void> {
    while (this.#isPast) {
      if (!this.options.daemon) throw this.#error();
      signal.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const onAbort = () => reject(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      this.#onBelow.push(resolve);
      try {
        await promise;
      } finally {
        signal.removeEventListener("abort", onAbort);
      }
    }
  }

  /** Refuses to end well. @throws PgsyncError DEAD_LETTER_LIMIT */
  refuse(): void {
    if (this.#isPast) throw this.#error();
  }

  #error(): PgsyncError {
    const { database, count, max } = this.options;
    return new PgsyncError("DEAD_LETTER_LIMIT", pastLimit(database, count(), max));
  }
}

/** Whether there are too many. @param max 0: no limit */
export function isPastLimit(count: number, max: number): boolean {
  return max > 0 && count > max;
}

/** One sentence. */
export function pastLimit(database: string, count: number, max: number): string {
  return `${count} documents of database "${database}" are refused, which is more than the limit of ${max} ` +
    "(--max-dead-letters): the cause is systematic.";
}
