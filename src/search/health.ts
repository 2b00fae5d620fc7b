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

type Outage = Extract<HealthState, { healthy: false }>;

/** Hears how requests to the search engine end. */
export interface RequestOutcomes {
  /** A request was answered and the index took what it was sent, or said what is wrong with it. */
  succeeded(subject: string): void;
  /** A request got no answer, or one that means overload or outage. */
  failed(subject: string, error: PgsyncError, at: Date): void;
}

/**
 * Follows the outcomes of requests, for readiness: healthy until a request fails, and again with the first success. Each index
 * counts by itself, for one may be blocked or closed while the others take documents; so does the engine, which is asked now and
 * then for any answer at all, because an idle run would not notice that it is gone.
 */
export class SearchHealth implements RequestOutcomes {
  /** By index, or by what else is asked of the engine; the engine itself has no name. */
  readonly #outages = new Map<string, Outage>();

  /** @param onRecovered told when an outage of all that was tried is over */
  constructor(private readonly onRecovered: (since: Date) => void = () => {}) {}

  /** The outage that began first. */
  get state(): HealthState {
    const [first] = [...this.#outages.values()].toSorted((a, b) => a.since.getTime() - b.since.getTime());
    return first ?? { healthy: true };
  }

  succeeded(subject: string): void {
    const { state } = this;
    this.#outages.delete(subject);
    this.#outages.delete(ENGINE);
    if (!state.healthy && this.#outages.size === 0) this.onRecovered(state.since);
  }

  failed(subject: string, error: PgsyncError, at: Date): void {
    const before = this.#outages.get(subject);
    this.#outages.set(subject, {
      healthy: false,
      error,
      since: before?.since ?? at,
      failures: (before?.failures ?? 0) + 1,
    });
  }

  /** The engine was asked for any answer, and gave one. An index that takes no documents takes none all the same. */
  answered(): void {
    this.succeeded(ENGINE);
  }

  /** The engine was asked for any answer, and gave none, or one that means overload or outage. */
  silent(error: PgsyncError, at: Date): void {
    this.failed(ENGINE, error, at);
  }

  /** What is told of by one part of a run, for as long as it lasts. */
  part(): HealthPart {
    return new HealthPart(this, (subject) => this.#outages.delete(subject));
  }
}

/**
 * What one part of a run tells of its requests. When it is disposed of, so is what it told: nobody tries any more what failed
 * last, and nobody would ever hear that it succeeds.
 */
export class HealthPart implements RequestOutcomes, Disposable {
  readonly #failing = new Set<string>();
  #over = false;

  /** @param forget takes a subject back */
  constructor(private readonly health: RequestOutcomes, private readonly forget: (subject: string) => void) {}

  succeeded(subject: string): void {
    this.#failing.delete(subject);
    this.health.succeeded(subject);
  }

  failed(subject: string, error: PgsyncError, at: Date): void {
    // What was under way at the end may fail after it.
    if (this.#over) return;
    this.#failing.add(subject);
    this.health.failed(subject, error, at);
  }

  [Symbol.dispose](): void {
    this.#over = true;
    for (const subject of this.#failing) this.forget(subject);
    this.#failing.clear();
  }
}

const ENGINE = "";
