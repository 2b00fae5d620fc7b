import { getLogger } from "@logtape/logtape";
import { orAborted } from "../retry/abort.ts";
import type { BulkItem, BulkRequest } from "./bulk_body.ts";

const logger = getLogger(["pgsync", "search"]);

/**
 * After so long the engine may have forgotten that a document was deleted: `index.gc_deletes` is 60 s where nobody sets it. An index of ours
 * remembers for longer (`DELETES_KNOWN_FOR`), but one that was made before does not, and what is remembered is in memory only.
 */
const FORGOTTEN_AFTER_MS = 60_000;

/**
 * The documents that old builds may have brought back. A process that is frozen just before it sends documents, and wakes up after another
 * one has deleted them, makes them anew where the engine has forgotten the deletions. It sees that by the time and by the answer; built
 * again, they are taken away. Until then nobody else can know.
 */
export class Revivals {
  /** Ids of the documents, and whether the engine has said that it made them. */
  readonly #ids = new Map<string, "made" | "unknown">();
  readonly #attempts = new Set<Attempt>();
  #onChange: (() => void)[] = [];

  constructor(private readonly generation: string, private readonly now: () => number) {}

  /** How many documents were made of old builds and are not built again yet. */
  get made(): number {
    return [...this.#ids.values()].filter((what) => what === "made").length;
  }

  /** The same, with those of which it is not known. */
  get possible(): number {
    return this.#ids.size;
  }

  /** Notes that documents are being sent, until what it returns is disposed of. */
  attempt(request: BulkRequest, part: readonly BulkItem[]): Attempt {
    const attempt = new Attempt(request, part, {
      now: this.now,
      made: (ids, ageMs) => this.#made(ids, ageMs),
      lost: (ids) => {
        for (const id of ids) if (!this.#ids.has(id)) this.#ids.set(id, "unknown");
      },
      over: () => {
        this.#attempts.delete(attempt);
        this.#changed();
      },
    });
    this.#attempts.add(attempt);
    return attempt;
  }

  /** All documents of a request are what they should be. */
  settled(request: BulkRequest): void {
    if (this.#ids.size === 0) return;
    for (const { id } of request.items) this.#ids.delete(id);
    this.#changed();
  }

  /** Waits until nothing is, or may yet be, brought back. @throws the signal's reason */
  async none(signal: AbortSignal): Promise<void> {
    while (this.#ids.size > 0 || [...this.#attempts].some((attempt) => attempt.mayRevive)) {
      const change = Promise.withResolvers<void>();
      this.#onChange.push(change.resolve);
      await orAborted(change.promise, signal);
    }
  }

  #made(ids: readonly string[], ageMs: number): void {
    for (const id of ids) this.#ids.set(id, "made");
    logger.warn(
      '{count} documents of index {generation} were made of builds that are {seconds} s old, "{id}" among them: this process was frozen, ' +
        "or its clock set. Should they have been deleted meanwhile, that takes them away again: they are built anew",
      { count: ids.length, generation: this.generation, seconds: Math.round(ageMs / 1000), id: ids[0] },
    );
  }

  #changed(): void {
    for (const tell of this.#onChange.splice(0)) tell();
  }
}

/** Who is told of an attempt. */
interface AttemptListener {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly made: (ids: readonly string[], ageMs: number) => void;
  readonly lost: (ids: readonly string[]) => void;
  readonly over: () => void;
}

/** One sending of documents. */
class Attempt implements Disposable {
  constructor(
    private readonly request: BulkRequest,
    private readonly part: readonly BulkItem[],
    private readonly listener: AttemptListener,
  ) {}

  /**
   * The documents are so old by now that the engine may have forgotten a later deletion. A clock that was set back makes their age unknown: that
   * counts as old.
   */
  get mayRevive(): boolean {
    return this.#ageMs > FORGOTTEN_AFTER_MS || this.#ageMs < 0;
  }

  /**
   * @param ids documents that the engine did not know; empty where that does not matter
   * @returns whether there are any
   */
  created(ids: readonly string[]): boolean {
    if (ids.length > 0) this.listener.made(ids, this.#ageMs);
    return ids.length > 0;
  }

  /** What became of it is not known. */
  lost(): void {
    if (!this.mayRevive) return;
    this.listener.lost(this.part.filter(({ operation }) => operation === "index").map(({ id }) => id));
  }

  [Symbol.dispose](): void {
    this.listener.over();
  }

  get #ageMs(): number {
    return this.listener.now() - this.request.builtAt;
  }
}
