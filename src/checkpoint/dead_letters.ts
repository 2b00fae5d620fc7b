import type { DatabaseSync, StatementSync } from "node:sqlite";
import { formatLsn, parseLsn } from "../replication/lsn.ts";
import { integer, type Row, text, textOrNull } from "./row.ts";
import type { DeadLetter, DeadLetterEntry } from "./types.ts";

/**
 * The table `dead_letter`, with the number of entries of each index in memory: every bulk request asks for it, and in
 * a healthy run it is 0. Transactions are the caller's, who calls `recount` after a rollback.
 */
export class DeadLetterStore {
  readonly #database: DatabaseSync;
  readonly #add: StatementSync;
  readonly #remove: StatementSync;
  #counts = new Map<string, number>();

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#add = database.prepare(
      "INSERT INTO dead_letter (index_name, id, operation, status, type, reason, position, first_at, last_at, tries) " +
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, 1) " +
        "ON CONFLICT (index_name, id) DO UPDATE SET operation = excluded.operation, status = excluded.status, " +
        "type = excluded.type, reason = excluded.reason, position = excluded.position, " +
        "last_at = excluded.last_at, tries = tries + 1 " +
        "RETURNING tries",
    );
    this.#remove = database.prepare("DELETE FROM dead_letter WHERE index_name = ? AND id = ?");
    this.recount();
  }

  recount(): void {
    const rows = this.#database.prepare(
      "SELECT index_name, count(*) AS entries FROM dead_letter GROUP BY index_name",
    )
      .all();
    this.#counts = new Map(rows.map((row) => [text(row, "index_name"), integer(row, "entries")]));
  }

  count(index: string): number {
    return this.#counts.get(index) ?? 0;
  }

  add(entries: readonly DeadLetterEntry[], now: Date): void {
    const at = now.toISOString();
    for (const { index, id, operation, status, type, reason, position } of entries) {
      const lsn = position === null ? null : formatLsn(position);
      const row = this.#add.get(index, id, operation, status, type, reason, lsn, at);
      if (row !== undefined && integer(row, "tries") === 1) this.#counts.set(index, this.count(index) + 1);
    }
  }

  remove(index: string, ids: Iterable<string>): number {
    let removed = 0;
    for (const id of ids) removed += Number(this.#remove.run(index, id).changes);
    this.#counts.set(index, this.count(index) - removed);
    return removed;
  }

  list(index: string | null, limit: number, offset: number): DeadLetter[] {
    return this.#database.prepare(
      "SELECT * FROM dead_letter WHERE ?1 IS NULL OR index_name = ?1 ORDER BY index_name, id LIMIT ?2 OFFSET ?3",
    ).all(index, limit, offset).map(readDeadLetter);
  }
}

function readDeadLetter(row: Row): DeadLetter {
  const position = textOrNull(row, "position");
  return {
    index: text(row, "index_name"),
    id: text(row, "id"),
    operation: text(row, "operation") === "delete" ? "delete" : "index",
    status: integer(row, "status"),
    type: text(row, "type"),
    reason: text(row, "reason"),
    position: position === null ? null : parseLsn(position),
    firstAt: new Date(text(row, "first_at")),
    lastAt: new Date(text(row, "last_at")),
    tries: integer(row, "tries"),
  };
}
