import { MemoryShare } from "./share.ts";

/**
 * What of the budget each stage of the pipeline may hold, in sixteenths. A stage waits for its own share only, while it may hold those of the
 * stages before it (changes, then keys, then documents, then requests). So nobody waits in a circle, and whoever is further on comes to its end.
 */
const SIXTEENTHS = { changes: 4, keys: 4, documents: 6, requests: 2 } as const;

/** The least budget with which all goes on as it should. */
export const LEAST_BUDGET: number = 4 * 1024 * 1024;

/** The memory that the buffers of a run may take, all databases and indices together. */
export class MemoryBudget {
  #most = 0;
  /** Changes of the stream that wait or are worked on. */
  readonly changes: MemoryShare;
  /** Keys that are looked up, remembered and handed on; what a comparison has found. */
  readonly keys: MemoryShare;
  /** Documents that are read, built, compared and sent, with what is kept of each until it is acknowledged. */
  readonly documents: MemoryShare;
  /** Copies of what is sent again. */
  readonly requests: MemoryShare;

  /** @param limit in bytes */
  constructor(readonly limit: number) {
    const share = (name: keyof typeof SIXTEENTHS) =>
      new MemoryShare(limit * SIXTEENTHS[name] / 16, () => this.#look());
    this.changes = share("changes");
    this.keys = share("keys");
    this.documents = share("documents");
    this.requests = share("requests");
  }

  /** Bytes that are held now. */
  get held(): number {
    return this.changes.held + this.keys.held + this.documents.held + this.requests.held;
  }

  /** The most that was held at once. */
  get most(): number {
    return this.#most;
  }

  #look(): void {
    const { held } = this;
    if (held > this.#most) this.#most = held;
  }
}
