import type { PgsyncError } from "../errors/error.ts";

/** Whether the search engine takes documents, as the last answers tell. */
export type HealthState =
  | { readonly healthy: true }
  | {
    readonly healthy: false;
    /** The failure that came last. */
    readonly error: PgsyncError;
    /** When the outage began. */
    readonly since: Date;
    /** Failures in a row. */
    readonly failures: number;
  };

/** Follows the outcomes of requests, for readiness: healthy until a request fails, and again with the first success. */
export class SearchHealth {
  #state: HealthState = { healthy: true };

  get state(): HealthState {
    return this.#state;
  }

  /** A request was answered and the engine took what it was sent, or said what is wrong with it. */
  succeeded(): void {
    this.#state = { healthy: true };
  }

  /** A request got no answer, or one that means overload or outage. */
  failed(error: PgsyncError, at: Date): void {
    const before = this.#state;
    this.#state = before.healthy
      ? { healthy: false, error, since: at, failures: 1 }
      : { healthy: false, error, since: before.since, failures: before.failures + 1 };
  }
}
