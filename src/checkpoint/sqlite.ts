/**
 * Opening of the SQLite file and the meaning of its errors: the thin layer between `node:sqlite` and the checkpoint.
 */
import { chmodSync, closeSync, openSync, statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { PgsyncError } from "../errors/error.ts";
import { APPLICATION_ID, FORMAT_STEPS } from "./format.ts";
import { sumsAgree } from "./position.ts";

/** How long opening waits for another process to let go, in milliseconds: a predecessor may be in its last commit. */
const BUSY_TIMEOUT_MS = 500;

/** SQLITE_BUSY (https://www.sqlite.org/rescode.html#busy). */
const SQLITE_BUSY = 5;
/** `sqlite3_errstr(SQLITE_BUSY)`: a constant of SQLite's, and all that Deno tells of the code. */
const SQLITE_BUSY_TEXT = "database is locked";

/**
 * Makes an error for the operator of one that `node:sqlite` threw.
 *
 * @param path the checkpoint file
 */
export function toCheckpointError(thrown: unknown, path: string): PgsyncError {
  if (thrown instanceof PgsyncError) return thrown;
  if (isBusy(thrown)) {
    return new PgsyncError("CHECKPOINT_LOCKED", `Another process holds the checkpoint file ${path}.`, {
      cause: thrown,
    });
  }
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return new PgsyncError("CHECKPOINT_UNUSABLE", `The checkpoint file ${path} cannot be used: ${reason}.`, {
    cause: thrown,
  });
}

/** True where SQLite said SQLITE_BUSY. Node and Bun give the number, Deno 2.9 only the text that stands for it. */
function isBusy(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false;
  if ("errcode" in thrown && typeof thrown.errcode === "number") {
    return (thrown.errcode & 0xff) === SQLITE_BUSY; // the higher bytes are the extended code
  }
  return "code" in thrown && thrown.code === "ERR_SQLITE_ERROR" && thrown.message === SQLITE_BUSY_TEXT;
}

/**
 * Opens or creates the file, takes the exclusive lock, checks the file and brings it to the present format.
 *
 * @throws PgsyncError CHECKPOINT_LOCKED, CHECKPOINT_UNUSABLE
 */
export function openDatabase(path: string): DatabaseSync {
  let database: DatabaseSync | null = null;
  try {
    makePrivateFile(path);
    // As they are found: from the first access on they may change.
    const sizes = { main: sizeOf(path), wal: sizeOf(`${path}-wal`) };
    database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
    // EXCLUSIVE before the first access in WAL mode: then there is no shared-memory file and no second reader.
    database.exec("PRAGMA locking_mode = EXCLUSIVE");
    database.exec("PRAGMA journal_mode = WAL");
    database.exec("PRAGMA synchronous = FULL");
    database.exec("PRAGMA foreign_keys = ON");
    database.exec("BEGIN IMMEDIATE");
    checkFormat(database, path, sizes);
    database.prepare(
      "INSERT INTO holder (one, pid, opened_at) VALUES (1, ?, ?) " +
        "ON CONFLICT (one) DO UPDATE SET pid = excluded.pid, opened_at = excluded.opened_at",
    ).run(process.pid, new Date().toISOString());
    database.exec("COMMIT");
    return database;
  } catch (thrown) {
    database?.close(); // rolls back what is open
    throw toCheckpointError(thrown, path);
  }
}

/**
 * The file holds ids of documents and reasons of refusals, so it is for its owner only; SQLite gives its WAL the
 * same mode. An existing file must not be opened here: closing it would drop the locks that this process holds on it
 * (fcntl(2), POSIX locks).
 */
function makePrivateFile(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (thrown) {
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "EEXIST")) throw thrown;
    chmodSync(path, 0o600);
  }
}

/** In bytes; 0 where there is no such file. */
function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function checkFormat(
  database: DatabaseSync,
  path: string,
  sizes: { readonly main: number; readonly wal: number },
): void {
  const unusable = (what: string) =>
    new PgsyncError("CHECKPOINT_UNUSABLE", `The checkpoint file ${path} ${what}.`);
  const applicationId = pragma(database, "application_id");
  const version = pragma(database, "user_version");
  if (applicationId !== APPLICATION_ID) {
    const tables = database.prepare("SELECT count(*) AS tables FROM sqlite_schema").get()?.tables;
    if (applicationId !== 0 || version !== 0 || tables !== 0) throw unusable("is another program's database");
  }
  if (version > FORMAT_STEPS.length) {
    throw unusable(
      `was written by a newer version of pgsync (format ${version}, this one knows ${FORMAT_STEPS.length})`,
    );
  }
  // SQLite fills up a page that was cut with zeros, and `quick_check` does not look at values. A crash in the middle of a page leaves it in the WAL.
  if (sizes.wal === 0 && sizes.main % pragma(database, "page_size") !== 0) {
    throw unusable("is damaged: it was cut");
  }
  const check = database.prepare("PRAGMA quick_check(1)").get()?.quick_check;
  if (check !== "ok") throw unusable(`is damaged: ${String(check).replaceAll("\n", " ")}`);
  for (const step of FORMAT_STEPS.slice(version)) database.exec(step);
  if (!sumsAgree(database)) {
    throw unusable(
      "does not belong to the log beside it (-wal), or has been changed by somebody else: what it holds does not come to the sums that were " +
        "stored with the position",
    );
  }
  database.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
  database.exec(`PRAGMA user_version = ${FORMAT_STEPS.length}`);
}

function pragma(database: DatabaseSync, name: "application_id" | "user_version" | "page_size"): number {
  const value = database.prepare(`PRAGMA ${name}`).get()?.[name];
  if (typeof value !== "number") throw new TypeError(`PRAGMA ${name} gave no number`);
  return value;
}
