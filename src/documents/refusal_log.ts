import { clearTimeout, setTimeout } from "node:timers";
import { getLogger } from "@logtape/logtape";
import type { DeadLetterEntry } from "../checkpoint/types.ts";
import { shortened } from "../status/foreign_text.ts";

const logger = getLogger(["pgsync", "documents"]);

/** Refused documents of an index that are told one by one within a minute; the others are counted. */
const TOLD_A_WINDOW = 10;
const WINDOW_MS = 60_000;
/** An id may be as long as a key, and a reason may quote the whole value. */
const LONGEST = 500;

/**
 * Logs documents that are newly refused, each with its reason, but not more of an index than a person reads: a cause that is
 * systematic must not fill the log. What was left out is counted when the minute is over.
 */
export class RefusalLog {
  #told = 0;
  #leftOut = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;

  /** @param log gets a message with its properties; the process's log */
  constructor(
    private readonly index: string,
    private readonly log: (message: string, properties: Record<string, unknown>) => void = (
      message,
      properties,
    ) => logger.warn(message, properties),
  ) {}

  /** Tells of refused documents that were none before. */
  tell(entries: readonly DeadLetterEntry[]): void {
    if (entries.length === 0) return;
    // A process that has nothing else to do need not wait for it.
    this.#timer ??= setTimeout(() => this.flush(), WINDOW_MS).unref();
    for (const { id, operation, status, type, reason } of entries) {
      if (this.#told >= TOLD_A_WINDOW) {
        this.#leftOut++;
        continue;
      }
      this.#told++;
      this.log(
        operation === "index"
          ? "document {id} of index {index} is refused and kept as a dead letter: {reason}"
          : "the deletion of document {id} of index {index} is refused and kept as a dead letter: {reason}",
        { id: shortened(id, LONGEST), index: this.index, reason: shortened(reason, LONGEST), status, type },
      );
    }
  }

  /** Tells how many were left out, and begins anew. */
  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const leftOut = this.#leftOut;
    this.#told = 0;
    this.#leftOut = 0;
    if (leftOut === 0) return;
    this.log("{count} more documents of index {index} are refused; pgsync dead-letters list tells which", {
      count: leftOut,
      index: this.index,
    });
  }
}
