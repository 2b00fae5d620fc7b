/** The work of `pgsync verify`: its options, its progress, its report and its exit code. */
import process from "node:process";
import { getLogger } from "@logtape/logtape";
import { EXIT } from "../errors/codes.ts";
import { PgsyncError, toPgsyncError } from "../errors/error.ts";
import { MOST_IDS } from "../server/dead_letters_json.ts";
import type { RunOptions } from "../sync/options.ts";
import { parseLsn } from "../replication/lsn.ts";
import {
  type IndexVerification,
  remaining,
  VERIFY_DEFAULTS,
  type VerifyOptions,
} from "../verify/verification.ts";
import { verify } from "../sync/verify_run.ts";
import type { ComparisonScope } from "../verify/differences.ts";
import type { Context } from "./context.ts";
import type { Flags } from "./flags.ts";
import { toJson } from "./format.ts";
import { deadLettersOfRun } from "./open_dead_letters.ts";
import { describeVerification } from "./print_verification.ts";
import { loadRunOptions } from "./run_options.ts";
import { logInterval } from "./run_settings.ts";
import { SIGNAL_EXIT, stopOnSignals } from "./signals.ts";
import { seconds, wholeNumber } from "./values.ts";
import type { Environment } from "./variables.ts";
import { startVerifyProgress } from "./verify_progress.ts";

/** The options that only this command has, as text. */
export interface VerifyFlags extends Flags {
  readonly repair?: boolean | undefined;
  readonly sample?: string | undefined;
  readonly since?: string | undefined;
  readonly index?: readonly string[] | undefined;
  readonly limit?: string | undefined;
  readonly wait?: string | undefined;
  readonly json?: boolean | undefined;
}

const logger = getLogger(["pgsync", "cli"]);

/** The longest wait, in seconds: a day. */
const LONGEST_WAIT = 86_400;

/** Compares, reports, and sets the exit code. @throws PgsyncError as `verify`; USAGE */
export async function runVerify(
  context: Context,
  flags: VerifyFlags,
  environment: Environment,
): Promise<void> {
  const options = verifyOptions(flags);
  const lineSeconds = logInterval(environment);
  const run = await loadRunOptions(flags, environment);
  const stop = stopOnSignals();
  const bars = process.stderr.isTTY === true && context.failureStyle.format === "text";
  const progress = startVerifyProgress({ bars, lineSeconds });
  const found: IndexVerification[] = [];
  try {
    const settle = settling(run, flags, environment);
    for await (const verification of verify(run, options, stop.signal, progress.observe, settle)) {
      progress.done();
      if (flags.json !== true) await context.output.write(`${describeVerification(verification)}\n`);
      found.push(verification);
    }
  } catch (thrown) {
    const stopped = stop.received();
    if (stopped === null) throw thrown;
    context.exitCode = SIGNAL_EXIT[stopped];
    return;
  } finally {
    progress.stop();
  }
  const equal = found.every((verification) => remaining(verification) === 0);
  if (flags.json === true) await context.output.write(`${toJson({ equal, indices: found }, 2)}\n`);
  if (!equal) context.exitCode = EXIT.difference;
}

/**
 * Has the run try those documents again that were mended and are dead letters of its: it takes them off its list then. What is none is
 * not touched.
 */
function settling(run: RunOptions, flags: VerifyFlags, environment: Environment) {
  let failed = false;
  return async (index: string, repaired: readonly string[]): Promise<void> => {
    for (let from = 0; from < repaired.length && !failed; from += MOST_IDS) {
      const ids = repaired.slice(from, from + MOST_IDS);
      try {
        const letters = deadLettersOfRun(run, flags, environment);
        await letters.retry({ indices: [index], ids, after: null });
      } catch (thrown) {
        failed = true;
        const { message } = toPgsyncError(thrown);
        logger.warn(
          "documents were mended that the running sync may still have as dead letters (pgsync dead-letters retry --all takes them " +
            "off its list), for it could not be told: {reason}",
          { reason: message },
        );
      }
    }
  };
}

/** Reads the command's own options. @throws PgsyncError USAGE */
function verifyOptions(flags: VerifyFlags): VerifyOptions {
  const { limit, wait, index } = flags;
  return {
    scope: scopeOf(flags),
    indices: index ?? null,
    repair: flags.repair === true,
    limit: limit === undefined
      ? VERIFY_DEFAULTS.limit
      : wholeNumber({ where: "--limit", value: limit }, 0, 1_000_000),
    waitSeconds: wait === undefined
      ? VERIFY_DEFAULTS.waitSeconds
      : seconds({ where: "--wait", value: wait }, LONGEST_WAIT),
  };
}

function scopeOf({ sample, since }: VerifyFlags): ComparisonScope {
  if (sample !== undefined && since !== undefined) {
    throw new PgsyncError("USAGE", "--sample and --since are both given.", {
      remedy: "Leave one of them out.",
    });
  }
  if (sample !== undefined) {
    return { kind: "sample", size: wholeNumber({ where: "--sample", value: sample }, 1, 10_000_000) };
  }
  if (since === undefined) return { kind: "all" };
  try {
    return { kind: "since", lsn: parseLsn(since) };
  } catch (cause) {
    throw new PgsyncError("USAGE", `--since must be a WAL position as 16/B374D848, but is "${since}".`, {
      cause,
    });
  }
}
