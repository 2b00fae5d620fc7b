import process from "node:process";
import { CommanderError } from "@commander-js/extra-typings";
import { PgsyncError, toPgsyncError } from "../errors/error.ts";
import { normaliseArguments } from "./arguments.ts";
import type { Context } from "./context.ts";
import { describeFailure } from "./failure.ts";
import { standardOutput } from "./output.ts";
import { buildProgram } from "./program.ts";

/**
 * Runs the command line and ends the process with its exit code.
 *
 * @param args the arguments behind the program's name
 */
export async function main(args: readonly string[]): Promise<never> {
  // a log reader that went away must not end the run
  process.stderr.on("error", () => {});
  const context: Context = {
    environment: process.env,
    output: standardOutput(),
    failureStyle: { format: "text", verbose: args.includes("--verbose") || args.includes("-v") },
    exitCode: 0,
  };
  const fail = (thrown: unknown): number => {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0; // help or version, printed
    const error = thrown instanceof CommanderError ? usageError(thrown) : toPgsyncError(thrown);
    process.stderr.write(`${describeFailure(error, context.failureStyle)}\n`);
    return error.exitCode;
  };
  for (const event of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(event, (thrown: unknown) => process.exit(fail(thrown)));
  }
  try {
    await buildProgram(context).parseAsync(normaliseArguments(args), { from: "user" });
  } catch (thrown) {
    context.exitCode = fail(thrown);
  }
  await context.output.flush();
  process.exit(context.exitCode);
}

/** Commander's message (`error: unknown option '--confg'`, perhaps `(Did you mean --config?)`) as one of ours. */
function usageError(error: CommanderError): PgsyncError {
  const [first = "", ...more] = error.message.replace(/^error: /, "").split("\n");
  return new PgsyncError(
    "USAGE",
    [
      `${first.charAt(0).toUpperCase()}${first.slice(1)}.`,
      ...more.map((line) => line.replace(/^\((.*)\)$/, "$1")),
    ].join(" "),
  );
}
