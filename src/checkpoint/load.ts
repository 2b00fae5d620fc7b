import type { DatabaseSync, StatementSync } from "node:sqlite";
import { PgsyncError } from "../errors/error.ts";
import { formatLsn, type Lsn, parseLsn } from "../replication/lsn.ts";
import { integer, type Row, text, textOrNull } from "./row.ts";
import type { LoadChunk, LoadChunkProgress, LoadProgress } from "./types.ts";

/** The tables `load` and `load_chunk`. Transactions are the caller's. */
export class LoadStore {
  readonly #database: DatabaseSync;
  readonly #chunkDone: StatementSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#chunkDone = database.prepare(
      "UPDATE load_chunk SET done = 1, documents = ? WHERE index_name = ? AND number = ?",
    );
  }

  plan(index: string, generation: string, chunks: readonly LoadChunk[]): void {
    this.forget(index);
    this.#database.prepare("INSERT INTO load (index_name, generation) VALUES (?, ?)").run(index, generation);
    const insert = this.#database.prepare(
      "INSERT INTO load_chunk (index_name, number, heap_schema, heap_table, heap_oid, filenode, kind, from_bound, to_bound) " +
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    for (const chunk of chunks) {
      insert.run(
        index,
        chunk.number,
        chunk.heapSchema,
        chunk.heapTable,
        chunk.heapOid,
        chunk.filenode,
        chunk.kind,
        chunk.from,
        chunk.to,
      );
    }
  }

  read(index: string): LoadProgress | null {
    const load = this.#database.prepare("SELECT * FROM load WHERE index_name = ?").get(index);
    if (load === undefined) return null;
    const endLsn = textOrNull(load, "end_lsn");
    return {
      generation: text(load, "generation"),
      chunks: this.#database.prepare("SELECT * FROM load_chunk WHERE index_name = ? ORDER BY number").all(
        index,
      )
        .map(readChunk),
      finished: integer(load, "finished") === 1,
      endLsn: endLsn === null ? null : parseLsn(endLsn),
    };
  }

  chunkDone(index: string, number: number, documents: number): void {
    if (this.#chunkDone.run(documents, index, number).changes !== 1) {
      throw new PgsyncError("INTERNAL", `The load of index "${index}" has no chunk ${number}.`);
    }
  }

  finish(index: string, endLsn: Lsn): void {
    const open = this.#database.prepare(
      "SELECT count(*) AS open FROM load_chunk WHERE index_name = ? AND done = 0",
    ).get(index)?.open;
    if (open !== 0) {
      throw new PgsyncError(
        "INTERNAL",
        `The load of index "${index}" cannot be finished: ${open} chunks are not done.`,
      );
    }
    const { changes } = this.#database.prepare(
      "UPDATE load SET finished = 1, end_lsn = ? WHERE index_name = ?",
    )
      .run(formatLsn(endLsn), index);
    if (changes !== 1) throw new PgsyncError("INTERNAL", `No load of index "${index}" is planned.`);
  }

  /** The chunks go with it (ON DELETE CASCADE). */
  forget(index: string): void {
    this.#database.prepare("DELETE FROM load WHERE index_name = ?").run(index);
  }
}

function readChunk(row: Row): LoadChunkProgress {
  return {
    number: integer(row, "number"),
    heapSchema: text(row, "heap_schema"),
    heapTable: text(row, "heap_table"),
    heapOid: integer(row, "heap_oid"),
    filenode: integer(row, "filenode"),
    kind: chunkKind(text(row, "kind")),
    from: textOrNull(row, "from_bound"),
    to: textOrNull(row, "to_bound"),
    done: integer(row, "done") === 1,
    documents: integer(row, "documents"),
  };
}

function chunkKind(kind: string): LoadChunk["kind"] {
  switch (kind) {
    case "tid":
    case "keys":
    case "whole":
      return kind;
    default:
      throw new TypeError(`a load chunk cannot be of kind ${kind}`);
  }
}
