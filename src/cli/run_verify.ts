/** The work of `pgsync verify`: its options, its progress, its report and its exit code. */
import process from "node:process";
import { EXIT } from "../errors/codes.ts";
import { PgsyncError } from "../errors/error.ts";
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
    for await (const verification of verify(run, options, stop.signal, progress.observe)) {
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
