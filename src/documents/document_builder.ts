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
  ) {
    this.#correlated = keysSql(mapped, "correlated");
    this.#setWise = keysSql(mapped, "set-wise");
  }

  /**
   * Builds documents; those that PostgreSQL cannot make are found by halving, so that one bad value does not keep the
   * others from being built. It makes one attempt: while PostgreSQL is away, or a table is locked, it is for the caller to give the memory back,
   * and to wait (`SourceSession.patience`).
   *
   * @param keys each at most once
   * @param moment the documents hold everything before it; null: they are as the session finds them
   * @param begin gives what takes the documents of one statement; statements come one after the other
   * @returns those that PostgreSQL cannot make
   * @throws what `SourceSession.error` makes an error of ours of; the signal's reason
   */
  async collect(
    keys: readonly RootKey[],
    moment: ServerMoment | null,
    begin: () => DocumentCollector,
    signal: AbortSignal,
  ): Promise<readonly UnmakeableDocument[]> {
    signal.throwIfAborted();
    const fault = await this.#attempt(keys, moment, begin());
    if (fault === null) return [];
    const [only, ...others] = keys;
    if (only !== undefined && others.length === 0) return [{ id: joinId(splitKey(only)), fault }];
    const middle = Math.ceil(keys.length / 2);
    const left = await this.collect(keys.slice(0, middle), moment, begin, signal);
    const right = await this.collect(keys.slice(middle), moment, begin, signal);
    return [...left, ...right];
  }

  /** @returns why PostgreSQL cannot make some of the documents; null where it has made them */
  async #attempt(
    keys: readonly RootKey[],
    moment: ServerMoment | null,
    collector: DocumentCollector,
  ): Promise<RowFault | null> {
    try {
      await this.#query(keys, moment, collector);
      return null;
    } catch (thrown) {
      collector.discard();
      const fault = rowFaultOf(thrown);
      if (fault === null) throw thrown;
      return fault;
    }
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
