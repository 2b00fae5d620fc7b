import { getLogger } from "@logtape/logtape";
import { PgsyncError } from "../errors/error.ts";
import type { DocumentSchema } from "../schema/tree.ts";
import type { DeadLetterAccess } from "../sync/dead_letters/dead_letters.ts";
import type { RunOptions } from "../sync/options.ts";
import { openStoredDeadLetters } from "../sync/dead_letters/stored_dead_letters.ts";
import { runAddress } from "./ask_status.ts";
import { DeadLetterClient } from "./dead_letter_client.ts";
import type { Flags } from "./flags.ts";
import { readRunToken } from "./run_token.ts";
import { given } from "./values.ts";
import type { Environment } from "./variables.ts";

const logger = getLogger(["pgsync", "cli"]);

/** What says where the run is. */
type AddressFlags = Flags & { readonly url?: string | undefined };

/** The dead letters of some indices. To be disposed of. */
export interface OpenedDeadLetters extends AsyncDisposable {
  readonly access: DeadLetterAccess;
  /** Those of the indices of which something is known. */
  readonly indices: readonly string[];
}

/**
 * Finds the dead letters: in the checkpoint files, or with the run that holds them. A run holds its files as long as it lives, so
 * whoever gets one is alone. Where no file is there at all, it is more likely that this is another folder than the run's than that
 * nothing was ever refused.
 *
 * @throws PgsyncError USAGE, STATUS_UNREACHABLE, CHECKPOINT_UNUSABLE
 */
export async function openDeadLetters(
  run: RunOptions,
  documents: readonly DocumentSchema[],
  flags: AddressFlags,
  environment: Environment,
  signal: AbortSignal,
): Promise<OpenedDeadLetters> {
  const ofRun = (): OpenedDeadLetters => ({
    access: deadLettersOfRun(run, flags, environment),
    indices: documents.map(({ index }) => index),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
  if (isElsewhere(flags, environment)) return ofRun();
  const stored = await openStoredDeadLetters(run, documents, signal);
  if ("deadLetters" in stored) {
    for (const path of stored.missing) {
      logger.warn(
        "there is no checkpoint file {path}: nothing is known of the dead letters of its database",
        {
          path,
        },
      );
    }
    return {
      access: stored.deadLetters,
      indices: stored.indices,
      [Symbol.asyncDispose]: () => stored[Symbol.asyncDispose](),
    };
  }
  const asked = ofRun();
  if (stored.state === "held") return asked;
  try {
    await asked.access.list({ indices: asked.indices, ids: null, limit: 1, after: null });
    return asked;
  } catch (cause) {
    if (!(cause instanceof PgsyncError) || cause.code !== "STATUS_UNREACHABLE") throw cause;
    throw new PgsyncError(
      "STATUS_UNREACHABLE",
      `There is no checkpoint file ${stored.path}, and no running pgsync that could be asked. ${cause.message}`,
      {
        remedy:
          "Name the folder of the checkpoint files with --checkpoint, or the running pgsync with --url.",
        cause,
      },
    );
  }
}

/** The dead letters of the running process. @throws PgsyncError USAGE */
export function deadLettersOfRun(
  run: RunOptions,
  flags: AddressFlags,
  environment: Environment,
): DeadLetterClient {
  const { url, token } = runAddress(flags, environment);
  return new DeadLetterClient({ url, token: token ?? readRunToken(run.checkpointFolder, url) });
}

function isElsewhere({ url }: AddressFlags, environment: Environment): boolean {
  return given(environment, "PGSYNC_STATUS_URL", { name: "--url", value: url }) !== null;
}
