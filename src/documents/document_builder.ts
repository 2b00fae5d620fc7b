import type { PgsyncError } from "../errors/error.ts";
import { keysSql } from "../mapping/document_sql.ts";
import { joinId } from "../mapping/id_sql.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import { arrayLiteral } from "../postgres/array.ts";
import { type RowFault, rowFaultOf } from "../postgres/errors.ts";
import { keyColumns, type RootKey, splitKey } from "./root_keys.ts";
import type { ServerMoment } from "./source_clock.ts";
import type { SourceSession } from "./source_session.ts";

/** From this many keys on, children are gathered set-wise. */
const SET_WISE_FROM = 500;

/** A document as PostgreSQL has made it. */
export interface BuiltDocument {
  readonly id: string;
  /** JSON, UTF-8; null where the root row is gone. */
  readonly document: Buffer | null;
}

/** A document that PostgreSQL cannot make of its rows. */
export interface UnmakeableDocument {
  readonly id: string;
  readonly fault: RowFault;
}

/** What became of the keys that were to be built. */
export interface BuiltDocuments {
  readonly documents: readonly BuiltDocument[];
  readonly unmakeable: readonly UnmakeableDocument[];
}

/** Takes the documents of one statement as they arrive, so that nobody has to hold all their rows. */
export interface DocumentCollector {
  /** Must not throw: that would leave the connection in the middle of an answer. @param document as in `BuiltDocument` */
  add(id: string, document: Buffer | null): void;
  /** The statement has failed: what was added is not wanted. */
  discard(): void;
}

/** Builds the documents of given root keys from PostgreSQL as it is now. */
export class DocumentBuilder {
  readonly #correlated: string;
  readonly #setWise: string;

  constructor(
    readonly mapped: MappedDocument,
    private readonly session: SourceSession,
    private readonly onFault: (fault: PgsyncError) => void,
  ) {
    this.#correlated = keysSql(mapped, "correlated");
    this.#setWise = keysSql(mapped, "set-wise");
  }

  /**
   * Builds documents and keeps them.
   *
   * @throws as `collect`
   */
  async build(
    keys: readonly RootKey[],
    moment: ServerMoment | null,
    signal: AbortSignal,
  ): Promise<BuiltDocuments> {
    const { parts, unmakeable } = await this.collect(keys, moment, () => new DocumentList(), signal);
    return { documents: parts.flatMap((part) => part.documents), unmakeable };
  }

  /**
   * Builds documents; those that PostgreSQL cannot make are found by halving, so that one bad value does not keep the
   * others from being built. While PostgreSQL is away, or a table is locked, it waits and begins again.
   *
   * @param keys each at most once
   * @param moment the documents hold everything before it; null: they are as the session finds them
   * @param begin makes what takes the documents of one statement
   * @returns the collectors of the statements that succeeded
   * @throws PgsyncError of PostgreSQL that is not temporary; the signal's reason
   */
  async collect<Collector extends DocumentCollector>(
    keys: readonly RootKey[],
    moment: ServerMoment | null,
    begin: () => Collector,
    signal: AbortSignal,
  ): Promise<{ readonly parts: readonly Collector[]; readonly unmakeable: readonly UnmakeableDocument[] }> {
    const built = await this.session.untilDone(
      async () => {
        const collector = begin();
        try {
          await this.#query(keys, moment, collector);
          return { collector };
        } catch (thrown) {
          collector.discard();
          const fault = rowFaultOf(thrown);
          if (fault === null) throw thrown;
          return { fault };
        }
      },
      "build documents",
      this.onFault,
      signal,
    );
    if ("collector" in built) return { parts: [built.collector], unmakeable: [] };
    const [only, ...others] = keys;
    if (only !== undefined && others.length === 0) {
      return { parts: [], unmakeable: [{ id: joinId(splitKey(only)), fault: built.fault }] };
    }
    const middle = Math.ceil(keys.length / 2);
    const left = await this.collect(keys.slice(0, middle), moment, begin, signal);
    const right = await this.collect(keys.slice(middle), moment, begin, signal);
    return {
      parts: [...left.parts, ...right.parts],
      unmakeable: [...left.unmakeable, ...right.unmakeable],
    };
  }

  async #query(
    keys: readonly RootKey[],
    moment: ServerMoment | null,
    collector: DocumentCollector,
  ): Promise<void> {
    const parameters = keyColumns(keys, this.mapped.key.length).map(arrayLiteral);
    const statement = keys.length < SET_WISE_FROM ? this.#correlated : this.#setWise;
    let nameless = false;
    using lease = await this.session.lease(this.session.builders, moment);
    // Row by row, also because postgres.js 3.4.9 keeps counting where a statement fails after its first rows: the next
    // result of that connection would begin with as many holes.
    await lease.sql
      .unsafe<(readonly (Buffer | null)[])[]>(statement, parameters, { prepare: true })
      .raw()
      .forEach(([id, document]) => {
        if (id === null || id === undefined) nameless = true;
        else collector.add(id.toString("utf8"), document ?? null);
      });
    if (nameless) throw new RangeError("a document without _id");
  }
}

class DocumentList implements DocumentCollector {
  readonly documents: BuiltDocument[] = [];

  add(id: string, document: Buffer | null): void {
    this.documents.push({ id, document });
  }

  discard(): void {
    this.documents.length = 0;
  }
}
