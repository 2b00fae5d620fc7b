import { getLogger } from "@logtape/logtape";
import { isOneOpen, readWriters } from "../../catalog/writers.ts";
import type { MappedDocument } from "../../mapping/tree.ts";
import type { Sql } from "../../postgres/connect.ts";
import { quoteQualified } from "../../postgres/quote.ts";
import type { DocumentSource } from "./document_source.ts";

const logger = getLogger(["pgsync", "sync"]);

interface Awaited {
  readonly writers: readonly string[];
  settle: () => void;
}

/**
 * Waits for transactions that have written to a table while it was not published, and commit when it is again: the stream leaves their rows out, and a
 * comparison that was made before the commit has not seen them. So the documents are compared once more when all are over that were
 * writing when the publication was seen to be another. (`changePublication` keeps writers away while it alters; nobody else does.)
 */
export class LateCommits {
  readonly #awaited = new Map<string, Awaited>();

  /** @param admin an admin pool of the database */
  constructor(private readonly admin: Sql) {}

  /**
   * Notes who writes to tables that are published otherwise than before. To be called when they have been read, and before the documents are compared.
   *
   * @throws postgres.js' errors
   */
  async await(mapped: MappedDocument, before: DocumentSource | null, now: DocumentSource): Promise<void> {
    if (before === null) return;
    const published = new Map(before.tables.map((state) => [quoteQualified(state), state.published]));
    const tables = now.tables.filter((state) => published.get(quoteQualified(state)) !== state.published);
    const writers = await readWriters(this.admin, tables);
    if (writers.length === 0) return;
    const { index } = mapped.schema;
    const earlier = this.#awaited.get(index);
    this.#awaited.set(index, {
      writers: [...new Set([...earlier?.writers ?? [], ...writers])],
      settle: earlier?.settle ?? (() => {}),
    });
    logger.info(
      "the publication has changed, and {count} transaction(s) were writing to its tables: the documents of {index} are compared again when they are over",
      { count: writers.length, index },
    );
  }

  /** Whether commits of somebody who writes to the document's tables are waited for. */
  isAwaited(mapped: MappedDocument): boolean {
    return this.#awaited.has(mapped.schema.index);
  }

  /** Leaves to the comparison after the commits what is to be called when one is acknowledged. @returns whether there is to be one */
  settles(mapped: MappedDocument, settle: () => void): boolean {
    const awaited = this.#awaited.get(mapped.schema.index);
    if (awaited === undefined) return false;
    const { settle: earlier } = awaited;
    awaited.settle = () => {
      earlier();
      settle();
    };
    return true;
  }

  /**
   * Whether a document is to be compared by now.
   *
   * @returns to be called when that is acknowledged; null: there is nothing to be compared, or not yet
   * @throws postgres.js' errors
   */
  async over(mapped: MappedDocument): Promise<(() => void) | null> {
    const { index } = mapped.schema;
    const awaited = this.#awaited.get(index);
    if (awaited === undefined || await isOneOpen(this.admin, awaited.writers)) return null;
    this.#awaited.delete(index);
    return awaited.settle;
  }
}
