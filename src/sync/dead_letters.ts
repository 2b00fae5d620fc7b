import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { DeadLetter } from "../checkpoint/types.ts";
import { PgsyncError } from "../errors/error.ts";

/** Dead letters that are tried again in one step. */
export const RETRIED_AT_ONCE = 1_000;

/** A place in a list of dead letters: behind the one of this index and id. */
export interface DeadLetterCursor {
  /** The index, as the schema file names it. */
  readonly index: string;
  /** The document's `_id`. */
  readonly id: string;
}

/** Which dead letters are to be listed. */
export interface DeadLetterQuery {
  /** Of these indices. */
  readonly indices: readonly string[];
  /** At most so many. */
  readonly limit: number;
  /** Only what comes behind; null: from the first on. */
  readonly after: DeadLetterCursor | null;
}

/** Some dead letters, in the order of the schema file's indices and by id. */
export interface DeadLetterPage {
  /** Of the indices that were asked for, in all. */
  readonly total: number;
  /** Those of this page. */
  readonly deadLetters: readonly DeadLetter[];
  /** Where to go on; null at the end. */
  readonly next: DeadLetterCursor | null;
}

/** Which dead letters something is to be done with. */
export interface DeadLetterSelection {
  /** Of these indices. */
  readonly indices: readonly string[];
  /** With these ids; null: all. */
  readonly ids: readonly string[] | null;
  /** Only what comes behind; null: from the first on. Without effect where ids are named. */
  readonly after: DeadLetterCursor | null;
}

/** What became of dead letters that were tried again. */
export interface RetriedDeadLetters {
  /** So many were tried. */
  readonly found: number;
  /** They were taken, or deleted because their row is gone, and have left the list. */
  readonly taken: number;
  /** They were refused again. */
  readonly refused: number;
  /** Nothing is known of them yet: PostgreSQL or the search engine lets itself be waited for. They will be tried. */
  readonly pending: number;
  /** Where to go on, for not all are tried at once; null at the end. */
  readonly next: DeadLetterCursor | null;
}

/** What an operator can do with documents that were refused. */
export interface DeadLetterAccess {
  /** Some of them. */
  list(query: DeadLetterQuery): Promise<DeadLetterPage>;
  /** Builds their documents anew from PostgreSQL as it is now, and writes them. */
  retry(selection: DeadLetterSelection): Promise<RetriedDeadLetters>;
  /** Forgets them; the index stays as it is until their rows change. Returns how many there were. */
  drop(selection: Omit<DeadLetterSelection, "after">): Promise<number>;
}

/** Where the dead letters of one database are, and what writes its documents. */
export interface DeadLetterPlace {
  /** @throws PgsyncError where it is not open now */
  checkpoint(): Checkpoint;
  /**
   * Writes documents anew. Resolves when each is acknowledged or refused.
   *
   * @throws PgsyncError where nothing can be written now
   */
  rewrite(index: string, ids: readonly string[]): Promise<void>;
}

/** The dead letters of several indices, wherever each has its own. */
export class DeadLetters implements DeadLetterAccess {
  /**
   * @param places by index, in the order of the schema file
   * @param waitMs how long documents that are tried again are waited for; null: until they are written
   */
  constructor(
    private readonly places: ReadonlyMap<string, DeadLetterPlace>,
    private readonly waitMs: number | null,
  ) {}

  list(query: DeadLetterQuery): Promise<DeadLetterPage> {
    return Promise.try(() => this.#page(query));
  }

  async retry({ indices, ids, after }: DeadLetterSelection): Promise<RetriedDeadLetters> {
    const { deadLetters, next } = ids === null
      ? this.#page({ indices, limit: RETRIED_AT_ONCE, after })
      : { deadLetters: this.#find(indices, ids), next: null };
    const byIndex = Map.groupBy(deadLetters, ({ index }) => index);
    const written = [...byIndex].map(([index, letters]) =>
      this.#place(index).rewrite(index, letters.map(({ id }) => id))
    );
    const done = await this.#inTime(Promise.all(written));
    const counts = { taken: 0, refused: 0, pending: 0 };
    for (const [index, letters] of byIndex) {
      const found = this.#place(index).checkpoint().findDeadLetters(index, letters.map(({ id }) => id));
      const now = new Map(found.map((letter) => [letter.id, letter.tries]));
      for (const { id, tries } of letters) {
        const triesNow = now.get(id);
        if (triesNow === undefined) counts.taken++;
        else if (done || triesNow > tries) counts.refused++;
        else counts.pending++;
      }
    }
    return { found: deadLetters.length, ...counts, next };
  }

  drop({ indices, ids }: Omit<DeadLetterSelection, "after">): Promise<number> {
    return Promise.try(() =>
      this.#inOrder(indices).reduce(
        (sum, index) => sum + this.#place(index).checkpoint().dropDeadLetters(index, ids),
        0,
      )
    );
  }

  #page({ indices, limit, after }: DeadLetterQuery): DeadLetterPage {
    const found: DeadLetter[] = [];
    let total = 0;
    let reached = after === null;
    for (const index of this.#inOrder(indices)) {
      const checkpoint = this.#place(index).checkpoint();
      total += checkpoint.deadLetterCount(index);
      if (!reached && index !== after?.index) continue;
      // One more than is wanted tells whether there is more.
      const wanted = limit + 1 - found.length;
      if (wanted > 0) found.push(...checkpoint.listDeadLetters(index, wanted, reached ? null : after?.id));
      reached = true;
    }
    const deadLetters = found.slice(0, limit);
    const last = deadLetters.at(-1);
    const next = found.length > limit && last !== undefined ? { index: last.index, id: last.id } : null;
    return { total, deadLetters, next };
  }

  #find(indices: readonly string[], ids: readonly string[]): DeadLetter[] {
    const wanted = new Set(ids);
    return this.#inOrder(indices).flatMap((index) =>
      this.#place(index).checkpoint().findDeadLetters(index, wanted)
    );
  }

  /** @throws PgsyncError REQUEST_REFUSED where an index is named that is not there */
  #inOrder(indices: readonly string[]): string[] {
    for (const index of indices) this.#place(index);
    return [...this.places.keys()].filter((index) => indices.includes(index));
  }

  #place(index: string): DeadLetterPlace {
    const place = this.places.get(index);
    if (place !== undefined) return place;
    throw new PgsyncError("REQUEST_REFUSED", `This run does not follow an index "${index}".`, {
      remedy: `It follows ${[...this.places.keys()].join(", ")}. Perhaps another pgsync was asked (--url).`,
    });
  }

  /** @returns whether it was done in time */
  async #inTime(work: Promise<unknown>): Promise<boolean> {
    if (this.waitMs === null) return await work.then(() => true);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(resolve, this.waitMs, false);
    try {
      return await Promise.race([work.then(() => true), promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}
