import type { PgsyncError } from "../errors/error.ts";

/** Why the documents of a database have to be mapped anew. */
export interface Remap {
  /** One sentence. */
  readonly reason: string;
  /** What keeps the documents from being followed as they are mapped. It is tried again with the tables as they are by then. */
  readonly fault?: PgsyncError;
}

/** What ends the following of one database from within: something failed, or its documents have to be mapped anew. The first of each counts. */
export class RunSignals {
  readonly #failure = new AbortController();
  readonly #remapping = new AbortController();

  /** Aborted when something has failed, with that as its reason; and when all is over. */
  get working(): AbortSignal {
    return this.#failure.signal;
  }

  /** Aborted when the documents have to be mapped anew. */
  get remapping(): AbortSignal {
    return this.#remapping.signal;
  }

  /** Why the documents have to be mapped anew; null where nobody has asked for it. */
  get remap(): Remap | null {
    const { signal } = this.#remapping;
    return signal.aborted ? signal.reason : null;
  }

  fail(error: unknown): void {
    if (!this.#failure.signal.aborted) this.#failure.abort(error);
  }

  mapAnew(remap: Remap): void {
    if (!this.#remapping.signal.aborted) this.#remapping.abort(remap);
  }
}
