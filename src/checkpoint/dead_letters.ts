import type { DatabaseSync, StatementSync } from "node:sqlite";
import { formatLsn, parseLsn } from "../replication/lsn.ts";
import { integer, type Row, text, textOrNull } from "./row.ts";
import type { DeadLetter, DeadLetterEntry, TakenDocument } from "./types.ts";

/** A version may lie beyond 2^53, and is never read: only SQLite compares it. */
const COLUMNS = "index_name, id, operation, status, type, reason, position, first_at, last_at, tries";

/**
 * The table `dead_letter`, with the number of entries of each index in memory: every bulk request asks for it, and in
 * a healthy run it is 0. Transactions are the caller's, who calls `recount` after a rollback.
 */
export class DeadLetterStore {
  readonly #database: DatabaseSync;
  readonly #add: StatementSync;
  readonly #settle: StatementSync;
  readonly #drop: StatementSync;
  readonly #find: StatementSync;
  readonly #tries: StatementSync;
  #counts = new Map<string, number>();

  constructor(database: DatabaseSync) {
    this.#database = database;
    // Builds may be refused in another order than they were made. Whoever tries again by hand knows no position.
    this.#add = database.prepare(
      `INSERT INTO dead_letter (${COLUMNS}, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, 1, ?9) ` +
        "ON CONFLICT (index_name, id) DO UPDATE SET operation = excluded.operation, status = excluded.status, " +
        "type = excluded.type, reason = excluded.reason, position = coalesce(excluded.position, position), " +
        "last_at = excluded.last_at, tries = tries + 1, version = max(version, excluded.version) " +
        "RETURNING tries",
    );
    this.#settle = database.prepare(
      "DELETE FROM dead_letter WHERE index_name = ? AND id = ? AND version <= ?",
    );
    this.#drop = database.prepare("DELETE FROM dead_letter WHERE index_name = ? AND id = ?");
    this.#find = database.prepare(`SELECT ${COLUMNS} FROM dead_letter WHERE index_name = ? AND id = ?`);
    this.#tries = database.prepare("SELECT tries FROM dead_letter WHERE index_name = ? AND id = ?");
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

  /** @returns those that were not there before */
  add(entries: readonly DeadLetterEntry[], now: Date): DeadLetterEntry[] {
    const at = now.toISOString();
    return entries.filter((entry) => {
      const { index, id, operation, status, type, reason, position, version } = entry;
      const lsn = position === null ? null : formatLsn(position);
      const row = this.#add.get(index, id, operation, status, type, reason, lsn, at, version);
      const isNew = row !== undefined && integer(row, "tries") === 1;
      if (isNew) this.#counts.set(index, this.count(index) + 1);
      return isNew;
    });
  }

  settle(index: string, taken: Iterable<TakenDocument>): number {
    let removed = 0;
    for (const { id, version } of taken) removed += Number(this.#settle.run(index, id, version).changes);
    return this.#removed(index, removed);
  }

  drop(index: string, ids: Iterable<string>): number {
    let removed = 0;
    for (const id of ids) removed += Number(this.#drop.run(index, id).changes);
    return this.#removed(index, removed);
  }

  /** @param index null: of all @param after only ids of that index behind this one */
  list(index: string | null, limit: number, after: string | null): DeadLetter[] {
    const select = `SELECT ${COLUMNS} FROM dead_letter`;
    const rows = index === null
      ? this.#database.prepare(`${select} ORDER BY index_name, id LIMIT ?`).all(limit)
      : after === null
      ? this.#database.prepare(`${select} WHERE index_name = ? ORDER BY id LIMIT ?`).all(index, limit)
      : this.#database.prepare(`${select} WHERE index_name = ? AND id > ? ORDER BY id LIMIT ?`)
        .all(index, after, limit);
    return rows.map(readDeadLetter);
  }

  find(index: string, ids: Iterable<string>): DeadLetter[] {
    return [...ids].flatMap((id) => {
      const row = this.#find.get(index, id);
      return row === undefined ? [] : [readDeadLetter(row)];
    });
  }

  /** @param after only ids behind this one */
  ids(index: string, limit: number, after: string | null): string[] {
    const select = "SELECT id FROM dead_letter WHERE index_name = ?";
    const rows = after === null
      ? this.#database.prepare(`${select} ORDER BY id LIMIT ?`).all(index, limit)
      : this.#database.prepare(`${select} AND id > ? ORDER BY id LIMIT ?`).all(index, after, limit);
    return rows.map((row) => text(row, "id"));
  }

  tries(index: string, ids: Iterable<string>): Map<string, number> {
    const tries = new Map<string, number>();
    for (const id of ids) {
      const row = this.#tries.get(index, id);
      if (row !== undefined) tries.set(id, integer(row, "tries"));
    }
    return tries;
  }

  #removed(index: string, count: number): number {
    this.#counts.set(index, this.count(index) - count);
    return count;
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
