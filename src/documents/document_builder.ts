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
   * Builds documents; those that PostgreSQL cannot make are found by halving, so that one bad value does not keep the
   * others from being built. While PostgreSQL is away it waits and begins again.
   *
   * @param keys each at most once
   * @param moment the documents hold everything before it; null: they are as the session finds them
   * @throws PgsyncError of PostgreSQL that is not temporary; the signal's reason
   */
  async build(
    keys: readonly RootKey[],
    moment: ServerMoment | null,
    signal: AbortSignal,
  ): Promise<BuiltDocuments> {
    const built = await this.session.untilDone(
      async () => {
        try {
          return { documents: await this.#query(keys, moment) };
        } catch (thrown) {
          const fault = rowFaultOf(thrown);
          if (fault === null) throw thrown;
          return { fault };
        }
      },
      "build documents",
      this.onFault,
      signal,
    );
    if (built.fault === undefined) return { documents: built.documents, unmakeable: [] };
    const [only, ...others] = keys;
    if (only !== undefined && others.length === 0) {
      return { documents: [], unmakeable: [{ id: joinId(splitKey(only)), fault: built.fault }] };
    }
    const middle = Math.ceil(keys.length / 2);
    const left = await this.build(keys.slice(0, middle), moment, signal);
    const right = await this.build(keys.slice(middle), moment, signal);
    return {
      documents: [...left.documents, ...right.documents],
      unmakeable: [...left.unmakeable, ...right.unmakeable],
    };
  }

  async #query(keys: readonly RootKey[], moment: ServerMoment | null): Promise<BuiltDocument[]> {
    const parameters = keyColumns(keys, this.mapped.key.length).map(arrayLiteral);
    const statement = keys.length < SET_WISE_FROM ? this.#correlated : this.#setWise;
    // Row by row, for postgres.js 3.4.9 keeps counting where a statement fails after its first rows: the next result of
    // that connection would begin with as many holes.
    const documents: BuiltDocument[] = [];
    using lease = await this.session.lease(this.session.builders, moment);
    await lease.sql
      .unsafe<(readonly (Buffer | null)[])[]>(statement, parameters, { prepare: true })
      .raw()
      .forEach(([id, document]) => {
        if (id === null || id === undefined) throw new RangeError("a document without _id");
        documents.push({ id: id.toString("utf8"), document: document ?? null });
      });
    return documents;
  }
}
