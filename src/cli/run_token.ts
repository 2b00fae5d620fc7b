/**
 * The token of a run that has no configured one: new at each start, in a file beside its checkpoint files, for their owner only. Who
 * may read that folder may ask the run for its dead letters, and nobody else, whatever stands between.
 *
 * The file is named after the machine and the address that the run listens on, and is read for that address alone: whoever sits on
 * another port, or on this one while the run is away, is shown no token that opens anything.
 */
import { randomBytes } from "node:crypto";
import { constants, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { getLogger } from "@logtape/logtape";
import { PgsyncError } from "../errors/error.ts";
import { readSmallFile } from "./small_file.ts";

const logger = getLogger(["pgsync", "cli"]);

const TOKEN = /^[0-9a-f]{64}$/;

/** Another may be allowed to write into the folder: it is no file of his that is read, and no pipe that is waited for. */
const AS_IT_IS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Where the token of the run is that listens on an address of this machine. */
export function runTokenFile(checkpointFolder: string, url: string): string {
  const name = [hostname(), new URL(url).host].map((part) => part.replaceAll(/[^\w.]+/g, "-")).join("_");
  return join(checkpointFolder, `pgsync_${name}.token`);
}

/** Makes a token. */
export function makeRunToken(): string {
  return randomBytes(32).toString("hex");
}

/**
 * Reads the token of the run that listens on an address of this machine, for whoever asks it.
 *
 * @returns null where there is none
 * @throws PgsyncError USAGE where it may not be read
 */
export function readRunToken(checkpointFolder: string, url: string): string | null {
  // A run speaks plain HTTP.
  if (new URL(url).protocol !== "http:") return null;
  const path = runTokenFile(checkpointFolder, url);
  try {
    const text = readSmallFile(path, AS_IT_IS).trim();
    return TOKEN.test(text) ? text : null;
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return null;
    throw new PgsyncError("USAGE", `The token of the run cannot be read: ${path}.`, {
      remedy: "Ask as the user who runs pgsync, or set PGSYNC_TOKEN for both.",
      cause,
    });
  }
}

/**
 * Writes the token of a run that listens on an address. Where that cannot be done, the log says why.
 *
 * @returns what removes it
 */
export function keepRunToken(checkpointFolder: string, url: string, token: string): () => void {
  const path = runTokenFile(checkpointFolder, url);
  // A name that nobody foresees, and a file that was not there: nothing is written through a link, and nobody reads half of it.
  const draft = `${path}.${randomBytes(8).toString("hex")}`;
  const warn = (what: string, thrown: unknown) =>
    logger.warn(`${what}: {reason}`, { reason: thrown instanceof Error ? thrown.message : String(thrown) });
  try {
    writeFileSync(draft, `${token}\n`, { mode: 0o600, flag: "wx" });
    renameSync(draft, path);
  } catch (thrown) {
    rmSync(draft, { force: true });
    warn("dead letters are not to be had from the status server, for no token can be kept", thrown);
    return () => {};
  }
  return () => {
    try {
      rmSync(path, { force: true });
    } catch (thrown) {
      warn("the token of this run, which nothing takes any more, cannot be removed", thrown);
    }
  };
}
