/**
 * The token that a run without a configured one makes for itself: a file beside its checkpoint files, for their owner only. Who may
 * read that folder may ask the run for its dead letters, and nobody else, whatever stands between.
 */
import { randomBytes } from "node:crypto";
import { chmodSync, linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { getLogger } from "@logtape/logtape";
import { PgsyncError } from "../errors/error.ts";

const logger = getLogger(["pgsync", "cli"]);

const TOKEN = /^[0-9a-f]{64}$/;

/** Where the token is. */
export function runTokenFile(checkpointFolder: string): string {
  return join(checkpointFolder, "pgsync.token");
}

/**
 * Reads the token of the runs whose checkpoint files are in a folder, for whoever asks one.
 *
 * @returns null where there is none
 * @throws PgsyncError USAGE where it may not be read
 */
export function readRunToken(checkpointFolder: string): string | null {
  const path = runTokenFile(checkpointFolder);
  try {
    return tokenIn(path);
  } catch (cause) {
    throw new PgsyncError("USAGE", `The token of the run cannot be read: ${path}.`, {
      remedy: "Ask as the user who runs pgsync, or set PGSYNC_TOKEN for both.",
      cause,
    });
  }
}

/**
 * Reads the token of a run, or makes one. It stays the same from run to run.
 *
 * @returns null where the file cannot be kept; the log says why
 */
export function keepRunToken(checkpointFolder: string): string | null {
  const path = runTokenFile(checkpointFolder);
  try {
    const found = tokenIn(path);
    if (found === null) {
      place(`${randomBytes(32).toString("hex")}\n`, path);
      return tokenIn(path);
    }
    chmodSync(path, 0o600);
    return found;
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    logger.warn("dead letters are not to be had from the status server, for no token can be kept: {reason}", {
      reason,
    });
    return null;
  }
}

/** @returns null where there is no file, or something else in it */
function tokenIn(path: string): string | null {
  try {
    const text = readFileSync(path, "utf8").trim();
    return TOKEN.test(text) ? text : null;
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return null;
    throw thrown;
  }
}

/** Nobody reads half of it, and of two runs that begin together the first one's stays. */
function place(text: string, path: string): void {
  const draft = `${path}.${process.pid}`;
  try {
    writeFileSync(draft, text, { mode: 0o600 });
    try {
      linkSync(draft, path);
    } catch {
      // Something else is in it, or the file system knows no links. Another run's token is read then.
      if (tokenIn(path) === null) renameSync(draft, path);
    }
  } finally {
    rmSync(draft, { force: true });
  }
}
