import type { DatabaseSync } from "node:sqlite";
import { formatLsn, type Lsn, parseLsn } from "../replication/lsn.ts";
import { integer, real, text, textOrNull } from "./row.ts";
import type { KnownCommit } from "./types.ts";

/** What the tables come to of which the position says nothing. Triggers keep the same in the row of the position. */
const SUMS = `
  (SELECT count(*) FROM dead_letter) AS dead_letters,
  (SELECT coalesce(sum(tries), 0) FROM dead_letter) AS tries,
  (SELECT coalesce(sum(done), 0) FROM load_chunk) AS chunks_done,
  (SELECT coalesce(sum(documents), 0) FROM load_chunk) AS documents`;

/**
 * Whether the tables come to the sums that stand with the position. They do not where an older copy of the file was laid beside the newest WAL. Without a position
 * there is nothing to hold them against.
 */
export function sumsAgree(database: DatabaseSync): boolean {
  const stored = database.prepare("SELECT dead_letters, tries, chunks_done, documents FROM position").get();
  if (stored === undefined) return true;
  const found = database.prepare(`SELECT ${SUMS}`).get();
  return Object.entries(stored).every(([name, sum]) => found?.[name] === sum);
}

/** The stored position; null before the first. */
export function readPosition(database: DatabaseSync): Lsn | null {
  const row = database.prepare("SELECT lsn FROM position").get();
  return row === undefined ? null : parseLsn(text(row, "lsn"));
}

/** The last transaction before the position; null where none is known. */
export function readLastCommit(database: DatabaseSync): KnownCommit | null {
  const row = database.prepare("SELECT commit_lsn, commit_xid, commit_time_ms FROM position").get();
  const lsn = row === undefined ? null : textOrNull(row, "commit_lsn");
  if (row === undefined || lsn === null) return null;
  return { lsn: parseLsn(lsn), xid: integer(row, "commit_xid"), timeMs: real(row, "commit_time_ms") };
}

/** Forgets the last transaction before the position. */
export function forgetLastCommit(database: DatabaseSync): void {
  database.exec("UPDATE position SET commit_lsn = NULL, commit_xid = NULL, commit_time_ms = NULL");
}

/** Stores a position, whatever stood there. @param commit the last transaction before it; null: the one that is stored, if any */
export function writePosition(database: DatabaseSync, lsn: Lsn, commit: KnownCommit | null): void {
  const values = [
    formatLsn(lsn),
    commit === null ? null : formatLsn(commit.lsn),
    commit?.xid ?? null,
    commit?.timeMs ?? null,
  ];
  // Counting takes long, so it is done once.
  const { changes } = database.prepare(`
    UPDATE position SET
      lsn = ?,
      commit_lsn = coalesce(?, commit_lsn),
      commit_xid = coalesce(?, commit_xid),
      commit_time_ms = coalesce(?, commit_time_ms)`).run(...values);
  if (changes > 0) return;
  database.prepare(`
    INSERT INTO position (one, lsn, commit_lsn, commit_xid, commit_time_ms, dead_letters, tries, chunks_done, documents)
    SELECT 1, ?, ?, ?, ?, ${SUMS}`).run(...values);
}
