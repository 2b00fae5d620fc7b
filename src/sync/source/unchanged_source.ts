import { readTableStates, type TableState } from "../../catalog/table_state.ts";
import { PgsyncError } from "../../errors/error.ts";
import type { MappedDocument } from "../../mapping/tree.ts";
import type { Sql } from "../../postgres/connect.ts";
import { isTemporary } from "../../retry/patience.ts";
import { type DatabaseState, readDatabase } from "../database_state.ts";
import { definitions, documentSource } from "./document_source.ts";

/**
 * Tells whoever compares or writes documents beside a sync that they are built in another way by now. By the definitions that were
 * read at the start, right documents would be called wrong, and those of the sync overwritten with wrong ones.
 */
export class UnchangedSource {
  readonly #shape: string;
  #states: readonly TableState[];

  /**
   * @param admin an admin pool of the database
   * @param state as it was read at the start
   * @param mapped one of its documents
   */
  constructor(
    private readonly admin: Sql,
    private readonly state: DatabaseState,
    private readonly mapped: MappedDocument,
  ) {
    this.#states = state.tables;
    this.#shape = documentSource(mapped, state.tables).shape;
  }

  /** @throws PgsyncError SOURCE_CHANGED; of PostgreSQL; postgres.js' errors */
  async check(): Promise<void> {
    const { admin, state, mapped: { schema } } = this;
    const states = await readTableStates(admin, this.#states, state.slotName);
    if (definitions(states) === definitions(this.#states)) return;
    const [now] = (await this.#readAnew()).mapping.documents;
    if (now === undefined || documentSource(now, states).shape !== this.#shape) throw altered(schema.index);
    this.#states = states;
  }

  async #readAnew(): Promise<DatabaseState> {
    const { admin, state, mapped: { schema } } = this;
    try {
      return await readDatabase(admin, state.database, [schema], state.slotName);
    } catch (thrown) {
      if (!(thrown instanceof PgsyncError) || isTemporary(thrown)) throw thrown;
      throw altered(schema.index, thrown);
    }
  }
}

function altered(index: string, cause?: PgsyncError): PgsyncError {
  return new PgsyncError(
    "SOURCE_CHANGED",
    `The tables of index "${index}" were altered meanwhile${
      cause === undefined ? "." : `: ${cause.message}`
    }`,
    { remedy: "Start again when the sync has mapped and compared its documents anew.", cause },
  );
}
