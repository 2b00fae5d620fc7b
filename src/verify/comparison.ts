import {
  type BuiltDocument,
  DocumentBuilder,
  type DocumentCollector,
  type UnmakeableDocument,
} from "../documents/document_builder.ts";
import { havePassed } from "../documents/garbage.ts";
import { inPortions, type Overflow } from "../documents/in_portions.ts";
import { joinKey, keyColumns, type RootKey } from "../documents/root_keys.ts";
import type { SourceSession } from "../documents/source_session.ts";
import { BYTES_AN_ITEM, type WorkMemory } from "../documents/work_memory.ts";
import { existingIdsSql } from "../mapping/document_sql.ts";
import { splitId } from "../mapping/id_sql.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import { arrayLiteral } from "../postgres/array.ts";
import { rowFaultOf } from "../postgres/errors.ts";
import type { OnFault } from "../retry/patience.ts";
import type { SearchClient } from "../search/client.ts";
import { getDocuments, type StoredDocument } from "../search/multi_get.ts";
import { AnswerTooLargeError } from "../search/read_answer.ts";
import { type ValueDifference, valueDifferences } from "./value_differences.ts";

/** A document that is not in the index as PostgreSQL has it. */
export interface Difference {
  readonly id: string;
  /** Null where no row can have this id: it is not that of a key, or its text is no value of the key's types. */
  readonly key: RootKey | null;
  /**
   * - `missing`: it has a root row and is not in the index
   * - `extra`: it is in the index and has no root row
   * - `different`: its contents differ
   * - `unmakeable`: PostgreSQL cannot make it of its rows; what the index holds cannot be judged
   */
  readonly kind: "missing" | "extra" | "different" | "unmakeable";
  /** Where the contents differ: the first places. */
  readonly changes: readonly ValueDifference[];
  /** Why PostgreSQL cannot make it; null for the other kinds. */
  readonly reason: string | null;
  /** The version that the index holds; null where it holds none, or it was not looked at. */
  readonly version: bigint | null;
  /** Tells the root row's version from others; null where there is none, or it was not looked at. */
  readonly mark: string | null;
}

/** What a comparison works with. */
export interface ComparisonOptions {
  readonly mapped: MappedDocument;
  /** The index behind the alias. */
  readonly generation: string;
  readonly session: SourceSession;
  readonly search: SearchClient;
  readonly memory: WorkMemory;
  /** False: only existence is compared, because the index does not hold contents as PostgreSQL made them. */
  readonly contents: boolean;
  /** So many places of a document that differs are told; 0: documents are compared by their bytes only. */
  readonly places: number;
  readonly onFault: OnFault;
}

/** Documents compared at once by their ids, or keys, at most. */
const MOST_AT_ONCE = 500;
/** What a document is taken to weigh before the first one was seen. */
const FIRST_GUESS_BYTES = 4 * 1024;
/** Of an answer with documents of the index, besides these and what is counted of each: what the engine may say of it. */
const BYTES_AN_ANSWER = 16 * 1024;
/** How many documents' worth of garbage a comparison leaves: the document, what the index has of it, the answer they came in. */
const GARBAGE_A_COMPARISON = 6;
/** The same for an id that is looked for: its place in a listing, its row, its mark. */
const GARBAGE_AN_ID = 3;

/**
 * Compares documents as PostgreSQL makes them with those that the index holds: byte by byte first, and by their values
 * where the bytes differ.
 */
export class Comparison {
  readonly #builder: DocumentBuilder;
  readonly #existing: string;
  /** The size of a document, as it was lately. */
  #averageBytes = FIRST_GUESS_BYTES;
  /** So many documents of the index had room in an answer lately. */
  #storedAtOnce = Infinity;

  constructor(private readonly options: ComparisonOptions) {
    this.#builder = new DocumentBuilder(options.mapped, options.session);
    this.#existing = existingIdsSql(options.mapped);
  }

  /**
   * Compares documents that were built. What they and those of the index take is held by the caller. What the index holds may be larger than
   * they are by any amount: it is read in parts that have room. One that has none by itself differs, for it has room for what was built.
   *
   * @param most bytes of the index's documents that have room, at least as many as those that were built have
   * @throws PgsyncError of the search engine; the signal's reason
   */
  async built(
    documents: readonly BuiltDocument[],
    most: number,
    signal: AbortSignal,
  ): Promise<Difference[]> {
    const found: Difference[] = [];
    for (let from = 0; from < documents.length;) {
      const part = documents.slice(from, from + this.#storedAtOnce);
      const ids = part.map(({ id }) => id);
      const stored = await this.#stored(ids, part.map(({ document }) => document), most, signal);
      if (stored === null && part.length > 1) continue;
      found.push(
        ...part.flatMap((built, at) =>
          stored === null ? this.#tooLarge(built) : this.#compare(built, stored[at] ?? null, null)
        ),
      );
      from += part.length;
    }
    havePassed(documents.length * GARBAGE_A_COMPARISON);
    return found;
  }

  /** Compares the documents of root keys. @throws PgsyncError of PostgreSQL or the search engine; the signal's reason */
  async keys(keys: readonly RootKey[], signal: AbortSignal): Promise<Difference[]> {
    const found: Difference[] = [];
    for (let from = 0, size = this.#atOnce(); from < keys.length; from += size, size = this.#atOnce()) {
      await this.#inPortions(keys.slice(from, from + size), async (portion, most) => {
        const { documents, unmakeable, overflow } = await this.#build(portion, most, signal);
        if (overflow !== null) return overflow;
        found.push(
          ...unmakeable.map((each) => this.#unmakeable(each)),
          ...await this.built(documents, most, signal),
        );
        return null;
      }, signal);
    }
    return found;
  }

  /**
   * Compares documents by their ids, whatever these are. The index is read before PostgreSQL: so what PostgreSQL has is
   * never older than what the index is compared by.
   *
   * @throws PgsyncError of PostgreSQL or the search engine; the signal's reason
   */
  async ids(ids: readonly string[], signal: AbortSignal): Promise<Difference[]> {
    const found: Difference[] = [];
    for (let from = 0, size = this.#atOnce(); from < ids.length; from += size, size = this.#atOnce()) {
      await this.#inPortions(ids.slice(from, from + size), async (portion, most) => {
        const result = await this.#ids(portion, most, signal);
        if (!Array.isArray(result)) return result;
        found.push(...result);
        return null;
      }, signal);
    }
    return found;
  }

  /** Of the ids of an index, those that have no root row. @throws PgsyncError of PostgreSQL; the signal's reason */
  async extra(ids: readonly string[], signal: AbortSignal): Promise<Difference[]> {
    const { marks, impossible } = await this.#patiently(() => this.#rows(ids), "look up documents", signal);
    havePassed(ids.length * GARBAGE_AN_ID);
    return ids.filter((id) => !marks.has(id)).map((id) => this.#extra(id, null, impossible));
  }

  /** As many documents as should have room in a page. */
  #atOnce(): number {
    const fitting = Math.floor(this.options.memory.pageBytes / 2 / this.#averageBytes);
    return Math.max(1, Math.min(MOST_AT_ONCE, this.#storedAtOnce, fitting));
  }

  /** @param work told the most bytes of documents that have room */
  async #inPortions(
    items: readonly string[],
    work: (items: readonly string[], most: number) => Promise<Overflow | null>,
    signal: AbortSignal,
  ): Promise<void> {
    const { memory, session, onFault } = this.options;
    const patience = session.patience("compare documents", onFault, signal);
    await inPortions(items, {
      share: memory.documents,
      roomOf: (count) => memory.roomOfPage(count),
      work: async (portion, held) => {
        try {
          const overflow = await work(portion, memory.pageOfRoom(portion.length, held.bytes));
          patience.succeeded();
          return overflow;
        } catch (thrown) {
          return { outside: () => patience.failed(thrown, null), again: true };
        }
      },
    }, signal);
  }

  async #ids(
    ids: readonly string[],
    most: number,
    signal: AbortSignal,
  ): Promise<Difference[] | Overflow> {
    const stored = await this.#stored(ids, [], most, signal);
    if (stored === null) {
      return { documents: ids.length, room: this.options.memory.roomOfPage(1, 2 * most) };
    }
    const { marks, impossible } = await this.#rows(ids);
    const keys = ids.flatMap((id) => marks.has(id) ? this.#key(id) ?? [] : []);
    const { documents, unmakeable, overflow } = await this.#build(keys, most, signal);
    if (overflow !== null) return overflow;
    const built = new Map(documents.map((document) => [document.id, document]));
    const faults = new Map(unmakeable.map((each) => [each.id, each]));
    return ids.flatMap((id, at) => {
      const fault = faults.get(id);
      if (fault !== undefined) return this.#unmakeable(fault);
      return this.#compare(
        built.get(id) ?? { id, document: null },
        stored[at] ?? null,
        marks.get(id) ?? null,
        impossible,
      );
    });
  }

  #compare(
    { id, document }: BuiltDocument,
    stored: StoredDocument | null,
    mark: string | null,
    impossible: ReadonlySet<RootKey> = NONE,
  ): Difference | [] {
    if (document === null) return stored === null ? [] : this.#extra(id, stored.version, impossible);
    const common = { id, key: this.#key(id), reason: null, mark };
    if (stored === null) return { ...common, kind: "missing", changes: [], version: null };
    const { source, version } = stored;
    if (!this.options.contents || (source !== null && document.equals(source))) return [];
    // An index that keeps sources has one of every document; a hand that left it out has changed the document.
    const { places } = this.options;
    // Other bytes may stand for the same values. Where only keys are wanted, to look closer would cost more than it saves.
    if (places === 0) return { ...common, kind: "different", changes: [], version };
    const changes = valueDifferences(document, source ?? EMPTY_DOCUMENT, places);
    return changes.length === 0 ? [] : { ...common, kind: "different", changes, version };
  }

  /** What the index holds has more bytes than all that was built may have. */
  #tooLarge({ id, document }: BuiltDocument): Difference {
    if (document === null) return this.#extra(id, null, NONE);
    const key = this.#key(id);
    return { id, key, kind: "different", changes: [], reason: null, version: null, mark: null };
  }

  /** @param impossible keys of which `#rows` has found that they are none */
  #extra(id: string, version: bigint | null, impossible: ReadonlySet<RootKey>): Difference {
    const text = this.#key(id);
    const key = text === null || impossible.has(text) ? null : text;
    return { id, key, kind: "extra", changes: [], reason: null, version, mark: null };
  }

  #unmakeable({ id, fault }: UnmakeableDocument): Difference {
    const { reason } = fault;
    return { id, key: this.#key(id), kind: "unmakeable", changes: [], reason, version: null, mark: null };
  }

  #key(id: string): RootKey | null {
    const values = splitId(id, this.options.mapped.key.length);
    // No text of PostgreSQL holds NUL, which parts the texts of a key.
    return values === null || id.includes("\0") ? null : joinKey(values);
  }

  /**
   * @param expected what PostgreSQL has of them, as far as that is known
   * @param most bytes of their contents that have room
   * @returns null where the index has more
   */
  async #stored(
    ids: readonly string[],
    expected: readonly (Buffer | null)[],
    most: number,
    signal: AbortSignal,
  ): Promise<(StoredDocument | null)[] | null> {
    const { search, generation, contents } = this.options;
    const mostBytes = most + ids.length * BYTES_AN_ITEM + BYTES_AN_ANSWER;
    const wanted = { source: contents, expected, ...(contents ? { mostBytes } : {}) };
    const stored = await this.#patiently(
      () => getDocuments(search, generation, ids, wanted, signal).catch(nullIfTooLarge),
      "compare documents",
      signal,
    );
    if (stored === null) {
      this.#storedAtOnce = Math.ceil(ids.length / 2);
    } else if (ids.length >= this.#storedAtOnce) {
      const bytes = stored.reduce((sum, document) => sum + (document?.source?.length ?? 0), 0);
      if (2 * bytes <= most) this.#storedAtOnce *= 2;
    }
    return stored;
  }

  /** Which ids have a root row, with its mark, and which keys no row can have. @throws what `SourceSession.error` makes an error of ours of */
  async #rows(
    ids: readonly string[],
  ): Promise<{ readonly marks: Map<string, string | null>; readonly impossible: Set<RootKey> }> {
    const found = { marks: new Map<string, string | null>(), impossible: new Set<RootKey>() };
    await this.#findRows(ids.flatMap((id) => this.#key(id) ?? []), found);
    return found;
  }

  /** A text that the key's type does not take is no id of ours: it is found by halving. */
  async #findRows(
    keys: readonly RootKey[],
    found: { readonly marks: Map<string, string | null>; readonly impossible: Set<RootKey> },
  ): Promise<void> {
    if (keys.length === 0) return;
    const { session, mapped } = this.options;
    try {
      const parameters = keyColumns(keys, mapped.key.length).map(arrayLiteral);
      // With a limit for locks, for documents of the index may be in hand.
      const rows = await session.builders.unsafe(this.#existing, parameters, { prepare: true }).values();
      for (const [id, mark] of rows) found.marks.set(String(id), mark === null ? null : String(mark));
    } catch (thrown) {
      if (rowFaultOf(thrown) === null) throw thrown;
      const [only] = keys;
      if (only !== undefined && keys.length === 1) {
        found.impossible.add(only);
        return;
      }
      const middle = Math.ceil(keys.length / 2);
      await this.#findRows(keys.slice(0, middle), found);
      await this.#findRows(keys.slice(middle), found);
    }
  }

  /** @param most bytes of documents that have room */
  async #build(
    keys: readonly RootKey[],
    most: number,
    signal: AbortSignal,
  ): Promise<{
    readonly documents: readonly BuiltDocument[];
    readonly unmakeable: readonly UnmakeableDocument[];
    readonly overflow: Overflow | null;
  }> {
    const { memory } = this.options;
    const list = new DocumentList(most, (bytes) => memory.roomOfPage(1, bytes));
    const unmakeable = await this.#builder.collect(keys, null, () => list.begin(), signal);
    const { documents, bytes, overflow } = list;
    if (documents.length > 0) {
      const weight = Math.min(0.5, overflow === null ? documents.length / 200 : 0.5);
      this.#averageBytes += (bytes / documents.length - this.#averageBytes) * weight;
    }
    return { documents, unmakeable, overflow };
  }

  async #patiently<T>(work: () => Promise<T>, doing: string, signal: AbortSignal): Promise<T> {
    return await this.options.session.untilDone(work, doing, this.options.onFault, signal);
  }
}

/** The documents of some keys, as far as they have room. */
class DocumentList {
  documents: BuiltDocument[] = [];
  bytes = 0;
  overflow: Overflow | null = null;

  /** @param most bytes that have room @param roomOf what one document of so many bytes would need by itself */
  constructor(private readonly most: number, private readonly roomOf: (bytes: number) => number) {}

  /** Takes the documents of one statement; what it discards leaves those of the statements before. */
  begin(): DocumentCollector {
    const { documents: { length }, bytes, overflow } = this;
    return {
      add: (id, document) => this.#add(id, document),
      discard: () => {
        this.documents.length = length;
        this.bytes = bytes;
        this.overflow = overflow;
      },
    };
  }

  #add(id: string, document: Buffer | null): void {
    if (this.overflow !== null) return;
    const size = document?.length ?? 0;
    if (this.bytes + size > this.most) {
      this.overflow = { documents: this.documents.length, room: this.roomOf(size) };
      return;
    }
    this.documents.push({ id, document });
    this.bytes += size;
  }
}

function nullIfTooLarge(error: unknown): null {
  if (error instanceof AnswerTooLargeError) return null;
  throw error;
}

const EMPTY_DOCUMENT = Buffer.from("{}");
const NONE: ReadonlySet<RootKey> = new Set();
