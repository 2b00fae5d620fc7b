import { closeSync, existsSync, mkdtempSync, openSync, rmdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { getLogger } from "@logtape/logtape";
import { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { toCheckpointError } from "../../checkpoint/sqlite.ts";
import { toPgsyncError } from "../../errors/error.ts";
import { delay } from "../../retry/backoff.ts";

const logger = getLogger(["pgsync", "sync"]);

/** How long a run waits for its file: a command may hold it (`pgsync dead-letters`), or a predecessor that is ending. */
const PATIENCE_MS = 10_000;
/** Between two attempts, of which each blocks the process for as long as SQLite waits for the lock. */
const PAUSE_MS = 500;

/** Why a checkpoint file cannot be asked. */
export interface NotStored {
  readonly state: "held" | "missing";
  readonly path: string;
}

/**
 * Opens a checkpoint file for a command. None is made.
 *
 * @throws PgsyncError CHECKPOINT_UNUSABLE
 */
export function openUnlessHeld(path: string): Checkpoint | NotStored {
  if (!existsSync(path)) return { state: "missing", path };
  return open(path) ?? { state: "held", path };
}

/**
 * Opens or makes the checkpoint file of a run. Where another process holds it, it is waited for a while.
 *
 * @throws PgsyncError as `Checkpoint.open`; the signal's reason
 */
export async function openPatiently(path: string, signal: AbortSignal): Promise<Checkpoint> {
  const first = open(path);
  if (first !== null) return first;
  logger.warn("another process holds the checkpoint file {path}; it is waited for", { path });
  for (const until = performance.now() + PATIENCE_MS; performance.now() < until;) {
    await delay(PAUSE_MS, signal);
    const checkpoint = open(path);
    if (checkpoint !== null) return checkpoint;
  }
  return Checkpoint.open(path);
}

/**
 * Looks whether a run could make or open its checkpoint file, and does neither: another process may hold it. Not for a process that has the file
 * open, for it would lose its lock (fcntl(2)).
 *
 * @throws PgsyncError CHECKPOINT_UNUSABLE
 */
export function refuseUnwritable(path: string): void {
  try {
    // SQLite makes files beside it. Rights alone say too little: of groups, of file systems that are read-only or full.
    rmdirSync(mkdtempSync(join(dirname(path), ".pgsync-")));
    if (existsSync(path)) closeSync(openSync(path, "r+"));
  } catch (thrown) {
    throw toCheckpointError(thrown, path);
  }
}

/** @returns null where another process holds the file */
function open(path: string): Checkpoint | null {
  try {
    return Checkpoint.open(path);
  } catch (thrown) {
    const error = toPgsyncError(thrown);
    if (error.code !== "CHECKPOINT_LOCKED") throw error;
    return null;
  }
}
