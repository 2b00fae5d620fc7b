import { setImmediate as turn } from "node:timers/promises";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import type { DeadLetter } from "../../checkpoint/types.ts";
import { PgsyncError } from "../../errors/error.ts";

/** Dead letters that are tried again in one step. */
export const RETRIED_AT_ONCE = 1_000;
/** Dead letters that are listed where nobody says how many. */
export const LISTED_BY_DEFAULT = 100;
/** Dead letters that are dropped in one transaction: the run goes on meanwhile. */
const DROPPED_AT_ONCE = 1_000;

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
  /** With these ids; null: all. */
  readonly ids: readonly string[] | null;
  /** At most so many. Without effect where ids are named. */
  readonly limit: number;
  /** Only what comes behind, in one of the indices; null: from the first on. Without effect where ids are named. */
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
  /** Only what comes behind, in one of the indices; null: from the first on. Without effect where ids are named. */
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

  list({ indices, ids, limit, after }: DeadLetterQuery): Promise<DeadLetterPage> {
    return Promise.try(() => {
      const total = this.#inOrder(indices).reduce(
        (sum, index) => sum + this.#file(index).deadLetterCount(index),
        0,
      );
      if (ids !== null) {
        const wanted = new Set(ids);
        const deadLetters = this.#inOrder(indices).flatMap((index) =>
          this.#file(index).findDeadLetters(index, wanted)
        );
        return { total, deadLetters, next: null };
      }
      const { found, next } = this.#page(
        { indices, limit, after },
        (index, most, behind) => this.#file(index).listDeadLetters(index, most, behind),
      );
      return { total, deadLetters: found, next };
    });
  }

  async retry({ indices, ids, after }: DeadLetterSelection): Promise<RetriedDeadLetters> {
    const { chosen, next } = this.#chosen(indices, ids, after);
    const written = [...chosen].map(([index, tries]) =>
      Promise.try(() => this.#place(index).rewrite(index, [...tries.keys()]))
    );
    await this.#inTime(Promise.all(written));
    const counts = { taken: 0, refused: 0, pending: 0 };
    for (const [index, tries] of chosen) {
      const now = this.#file(index).deadLetterTries(index, tries.keys());
      for (const [id, before] of tries) {
        const triesNow = now.get(id);
        if (triesNow === undefined) counts.taken++;
        else if (triesNow > before) counts.refused++;
        else counts.pending++;
      }
    }
    return { found: counts.taken + counts.refused + counts.pending, ...counts, next };
  }

  async drop({ indices, ids }: Omit<DeadLetterSelection, "after">): Promise<number> {
    let dropped = 0;
    for (const index of this.#inOrder(indices)) {
      for (const portion of ids === null ? this.#idsOf(index) : [ids]) {
        dropped += this.#file(index).dropDeadLetters(index, portion);
        await turn();
      }
    }
    return dropped;
  }

  /** What is to be tried again, by index: ids, and how often each was refused. */
  #chosen(indices: readonly string[], ids: readonly string[] | null, after: DeadLetterCursor | null) {
    const { found, next } = ids === null
      ? this.#page(
        { indices, limit: RETRIED_AT_ONCE, after },
        (index, most, behind) =>
          this.#file(index).deadLetterIds(index, most, behind).map((id) => ({ index, id })),
      )
      : { found: this.#inOrder(indices).flatMap((index) => ids.map((id) => ({ index, id }))), next: null };
    const byIndex = Map.groupBy(found, ({ index }) => index);
    const chosen = [...byIndex].map(([index, own]) =>
      [index, this.#file(index).deadLetterTries(index, own.map(({ id }) => id))] as const
    );
    return { chosen: chosen.filter(([, tries]) => tries.size > 0), next };
  }

  /** Those behind a place in all indices, one after the other. @param read some of an index, in the order of their ids */
  #page<Entry extends DeadLetterCursor>(
    { indices, limit, after }: Omit<DeadLetterQuery, "ids">,
    read: (index: string, limit: number, after: string | null) => Entry[],
  ): { readonly found: readonly Entry[]; readonly next: DeadLetterCursor | null } {
    const all = this.#inOrder(indices);
    const first = after === null ? 0 : all.indexOf(after.index);
    if (after !== null && first < 0) throw notThere(after.index, all);
    // One more than is wanted tells whether there is more.
    const found: Entry[] = [];
    for (const index of all.slice(first)) {
      const wanted = limit + 1 - found.length;
      if (wanted > 0) found.push(...read(index, wanted, index === after?.index ? after.id : null));
    }
    const shown = found.slice(0, limit);
    const last = shown.at(-1);
    const next = found.length > limit && last !== undefined ? { index: last.index, id: last.id } : null;
    return { found: shown, next };
  }

  /** All ids of an index, in portions, each read when it is wanted. */
  *#idsOf(index: string): Generator<readonly string[]> {
    for (let after: string | null = null;;) {
      const ids: string[] = this.#file(index).deadLetterIds(index, DROPPED_AT_ONCE, after);
      after = ids.at(-1) ?? null;
      if (after === null) return;
      yield ids;
    }
  }

  /** @throws PgsyncError REQUEST_REFUSED where an index is named that is not there */
  #inOrder(indices: readonly string[]): string[] {
    for (const index of indices) this.#place(index);
    return [...this.places.keys()].filter((index) => indices.includes(index));
  }

  #place(index: string): DeadLetterPlace {
    const place = this.places.get(index);
    if (place === undefined) throw notThere(index, this.places.keys());
    return place;
  }

  #file(index: string): Checkpoint {
    return this.#place(index).checkpoint();
  }

  /** Waits until the work is done, or for as long as is waited for it. */
  async #inTime(work: Promise<unknown>): Promise<void> {
    if (this.waitMs === null) return void await work;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, this.waitMs);
    try {
      await Promise.race([work, promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function notThere(index: string, there: Iterable<string>): PgsyncError {
  return new PgsyncError("REQUEST_REFUSED", `This run does not follow an index "${index}".`, {
    remedy: `It follows ${[...there].join(", ")}. Perhaps another pgsync was asked (--url).`,
  });
}
