/** What every command works with. */
import type { Flags } from "./flags.ts";
import type { LogFormat } from "./logging.ts";
import type { Output } from "./output.ts";
import type { Environment } from "./variables.ts";

/** The surroundings of one invocation. */
export interface Context {
  /** The process's environment, before any `.env` file. */
  readonly environment: Environment;
  readonly output: Output;
  /** How an error is to be printed; set as soon as it is known. */
  failureStyle: { format: LogFormat; verbose: boolean };
  /** What the process will exit with. */
  exitCode: number;
}

/**
 * The first step of every command: reads the `.env` file and sets the log up.
 *
 * @returns the variables that hold from here on
 * @throws PgsyncError USAGE
 */
export async function prepare(context: Context, flags: Flags): Promise<Environment> {
  const [
    { withEnvFile },
    { given, choice },
    { switchedOn },
    { configureLogging, LOG_FORMATS },
    { getLogger },
    { withSecretFiles },
    { secretArguments },
  ] = await Promise.all([
    import("./env_file.ts"),
    import("./values.ts"),
    import("./run_settings.ts"),
    import("./logging.ts"),
    import("@logtape/logtape"),
    import("./secret_files.ts"),
    import("./secret_warnings.ts"),
  ]);
  // The file cannot name itself, so this variable is the real environment's only.
  const named = context.environment.PGSYNC_ENV_FILE;
  const wanted = flags.envFile !== undefined && flags.envFile !== true
    ? flags.envFile
    : named === undefined || named === ""
    ? true
    : named === "off"
    ? false
    : named;
  const { environment: merged, file } = withEnvFile(context.environment, wanted);
  const environment = withSecretFiles(merged);
  const format = given(environment, "PGSYNC_LOG_FORMAT", { name: "--log-format", value: flags.logFormat });
  context.failureStyle = {
    format: format === null ? "text" : choice(format, LOG_FORMATS),
    verbose: switchedOn(environment, "PGSYNC_VERBOSE", flags.verbose),
  };
  await configureLogging(context.failureStyle.format, context.failureStyle.verbose);
  const logger = getLogger(["pgsync", "cli"]);
  for (const warning of secretArguments(flags)) logger.warn("{warning}", { warning });
  if (file !== null && file.taken.length > 0) {
    logger.info("read from {path}: {variables}", {
      path: file.path,
      variables: file.taken.join(", "),
    });
  }
  return environment;
}
