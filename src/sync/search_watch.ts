import { getLogger } from "@logtape/logtape";
import { type PgsyncError, toPgsyncError } from "../errors/error.ts";
import { delayOrAbort } from "../retry/backoff.ts";
import type { SearchClient } from "../search/client.ts";
import type { SearchHealth } from "../search/health.ts";
import { indexFaults } from "../search/index_state.ts";

const logger = getLogger(["pgsync", "sync"]);

/** How often the search engine is asked for any answer. */
const SEARCH_LOOK_MS = 5_000;
/** It is asked again so soon where it has given none. */
const SECOND_LOOK_MS = 1_000;
/** What has not answered by then is frozen, or behind a network that swallows packets. */
const ANSWER_WITHIN_SECONDS = 10;
/** One node of several may be frozen: as long as the next one that is asked answers, documents are taken. */
const SILENT_AFTER = 2;

/** What the watch of a search engine works with. */
export interface SearchWatchOptions {
  readonly search: SearchClient;
  /** The indices that are followed: the names behind their aliases. */
  readonly indices: () => readonly string[];
  readonly health: SearchHealth;
  /** Told of looks in a row that get no answer, or one that means overload or outage. */
  readonly onSilence: (fault: PgsyncError) => void;
  readonly onAnswer: () => void;
  /** Told when an index that is followed is seen to take no documents, and, by null, when it does again. */
  readonly onIndex: (index: string, fault: PgsyncError | null) => void;
}

/**
 * Asks the search engine for any answer now and then, until the signal, and looks whether the indices take documents: while nothing
 * changes, nothing else would notice that it is away, or that one of them is closed; and a bulk request waits for a minute before it
 * is given up.
 */
export async function watchSearch(options: SearchWatchOptions, signal: AbortSignal): Promise<void> {
  const { search, onAnswer, onSilence } = options;
  using indices = new IndexWatch(options);
  for (let silent = 0; !signal.aborted;) {
    await delayOrAbort(silent === 1 ? SECOND_LOOK_MS : SEARCH_LOOK_MS, signal);
    if (signal.aborted) return;
    try {
      await search.ping(signal, ANSWER_WITHIN_SECONDS);
      silent = 0;
      onAnswer();
    } catch (thrown) {
      if (signal.aborted) return;
      if (++silent >= SILENT_AFTER) onSilence(toPgsyncError(thrown));
      continue;
    }
    await indices.look(signal);
  }
}

/** Tells of the indices, each by itself, what they are seen to be. */
class IndexWatch implements Disposable {
  /** By name, why it takes no documents. */
  readonly #faults = new Map<string, PgsyncError>();
  readonly #told;

  constructor(private readonly options: SearchWatchOptions) {
    this.#told = options.health.part();
  }

  async look(signal: AbortSignal): Promise<void> {
    const { search, indices } = this.options;
    const names = indices();
    for (const name of this.#faults.keys()) if (!names.includes(name)) this.#note(name, null);
    if (names.length === 0) return;
    try {
      const found = await indexFaults(search, names, signal, ANSWER_WITHIN_SECONDS);
      for (const [name, fault] of found) this.#note(name, fault);
    } catch (error) {
      // Whether the engine is away, the next look at it tells.
      if (!signal.aborted) logger.debug("the indices could not be looked at: {error}", { error });
    }
  }

  #note(name: string, fault: PgsyncError | null): void {
    const subject = `state of ${name}`;
    const before = this.#faults.get(name);
    if (fault === null) {
      if (before === undefined) return;
      this.#faults.delete(name);
      this.options.onIndex(name, null);
      this.#told.succeeded(subject);
      return;
    }
    this.#faults.set(name, fault);
    this.options.onIndex(name, fault);
    this.#told.failed(subject, fault, new Date());
  }

  [Symbol.dispose](): void {
    this.#told[Symbol.dispose]();
  }
}
