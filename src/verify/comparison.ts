import {
  type BuiltDocument,
  type BuiltDocuments,
  DocumentBuilder,
  type UnmakeableDocument,
} from "../documents/document_builder.ts";
import { havePassed } from "../documents/garbage.ts";
import { joinKey, keyColumns, type RootKey } from "../documents/root_keys.ts";
import type { SourceSession } from "../documents/source_session.ts";
import { existingIdsSql } from "../mapping/document_sql.ts";
import { splitId } from "../mapping/id_sql.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import { arrayLiteral } from "../postgres/array.ts";
import { rowFaultOf } from "../postgres/errors.ts";
import type { OnFault } from "../retry/patience.ts";
import type { SearchClient } from "../search/client.ts";
import { getDocuments, type StoredDocument } from "../search/multi_get.ts";
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
  /** False: only existence is compared, because the index does not hold contents as PostgreSQL made them. */
  readonly contents: boolean;
  /** So many places of a document that differs are told; 0: documents are compared by their bytes only. */
  readonly places: number;
  readonly onFault: OnFault;
}

/** Documents compared at once by their ids. */
const IDS_AT_ONCE = 500;
/** How many documents' worth of garbage a comparison leaves: the document, what the index has of it, the answer they came in. */
const GARBAGE_A_COMPARISON = 6;
/** The same for an id that is looked for: its place in a listing, its row, its mark. */
const GARBAGE_AN_ID = 3;

/**
 * Compares documents as PostgreSQL makes them with those that the index holds: byte by byte first, and by their values
 * where the bytes differ.
 */
export class Comparison {
  readonly builder: DocumentBuilder;
  readonly #existing: string;

  constructor(private readonly options: ComparisonOptions) {
    this.builder = new DocumentBuilder(options.mapped, options.session, options.onFault);
    this.#existing = existingIdsSql(options.mapped);
  }

  /**
   * Compares documents that were built.
   *
   * @throws PgsyncError of the search engine; the signal's reason
   */
  async built(documents: readonly BuiltDocument[], signal: AbortSignal): Promise<Difference[]> {
    const ids = documents.map(({ id }) => id);
    const stored = await this.#stored(ids, documents.map(({ document }) => document), signal);
    havePassed(documents.length * GARBAGE_A_COMPARISON);
    return documents.flatMap((built, at) => this.#compare(built, stored[at] ?? null, null));
  }

  /** Compares the documents of root keys. @throws PgsyncError of PostgreSQL or the search engine; the signal's reason */
  async keys(keys: readonly RootKey[], signal: AbortSignal): Promise<Difference[]> {
    const { documents, unmakeable } = await this.#build(keys, signal);
    return [...unmakeable.map((each) => this.#unmakeable(each)), ...await this.built(documents, signal)];
  }

  /**
   * Compares documents by their ids, whatever these are. The index is read before PostgreSQL: so what PostgreSQL has is
   * never older than what the index is compared by.
   *
   * @throws PgsyncError of PostgreSQL or the search engine; the signal's reason
   */
  async ids(ids: readonly string[], signal: AbortSignal): Promise<Difference[]> {
    const found: Difference[] = [];
    for (let from = 0; from < ids.length; from += IDS_AT_ONCE) {
      found.push(...await this.#ids(ids.slice(from, from + IDS_AT_ONCE), signal));
    }
    return found;
  }

  /** Of the ids of an index, those that have no root row. @throws PgsyncError of PostgreSQL; the signal's reason */
  async extra(ids: readonly string[], signal: AbortSignal): Promise<Difference[]> {
    const { marks, impossible } = await this.#rows(ids, signal);
    havePassed(ids.length * GARBAGE_AN_ID);
    return ids.filter((id) => !marks.has(id)).map((id) => this.#extra(id, null, impossible));
  }

  async #ids(ids: readonly string[], signal: AbortSignal): Promise<Difference[]> {
    const stored = await this.#stored(ids, [], signal);
    const { marks, impossible } = await this.#rows(ids, signal);
    const keys = ids.flatMap((id) => marks.has(id) ? this.#key(id) ?? [] : []);
    const { documents, unmakeable } = await this.#build(keys, signal);
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

  /** @param expected what PostgreSQL has of them, as far as that is known */
  async #stored(
    ids: readonly string[],
    expected: readonly (Buffer | null)[],
    signal: AbortSignal,
  ): Promise<(StoredDocument | null)[]> {
    const { search, generation, contents } = this.options;
    return await this.#patiently(
      () => getDocuments(search, generation, ids, { source: contents, expected }, signal),
      "compare documents",
      signal,
    );
  }

  /** Which ids have a root row, with its mark, and which keys no row can have. */
  async #rows(
    ids: readonly string[],
    signal: AbortSignal,
  ): Promise<{ readonly marks: Map<string, string | null>; readonly impossible: Set<RootKey> }> {
    const keys = ids.flatMap((id) => this.#key(id) ?? []);
    return await this.#patiently(
      async () => {
        const found = { marks: new Map<string, string | null>(), impossible: new Set<RootKey>() };
        await this.#findRows(keys, found);
        return found;
      },
      "look up documents",
      signal,
    );
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
      const rows = await session.lookups.unsafe(this.#existing, parameters, { prepare: true }).values();
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

  async #build(keys: readonly RootKey[], signal: AbortSignal): Promise<BuiltDocuments> {
    return await this.#patiently(
      () => this.builder.build(keys, null, signal),
      "build documents",
      signal,
    );
  }

  async #patiently<T>(work: () => Promise<T>, doing: string, signal: AbortSignal): Promise<T> {
    return await this.options.session.untilDone(work, doing, this.options.onFault, signal);
  }
}

const EMPTY_DOCUMENT = Buffer.from("{}");
const NONE: ReadonlySet<RootKey> = new Set();
