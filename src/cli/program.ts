import { Command, Help } from "@commander-js/extra-typings";
import { EXIT } from "../errors/codes.ts";
import { bootstrapCommand } from "./commands/bootstrap.ts";
import { deadLettersCommand } from "./commands/dead_letters.ts";
import { planCommand } from "./commands/plan.ts";
import { previewCommand } from "./commands/preview.ts";
import { refreshCommand } from "./commands/refresh.ts";
import { statusCommand } from "./commands/status.ts";
import { syncCommand } from "./commands/sync.ts";
import { takeOverCommand } from "./commands/take_over.ts";
import { teardownCommand } from "./commands/teardown.ts";
import { validateCommand } from "./commands/validate.ts";
import { verifyCommand } from "./commands/verify.ts";
import type { Context } from "./context.ts";
import { VERSION } from "../version.ts";

/** What each exit code means, for `--help` and docs/cli.md. */
export const EXIT_MEANINGS: readonly { readonly code: number; readonly meaning: string }[] = [
  { code: EXIT.ok, meaning: "done; with --daemon: stopped by SIGTERM or SIGINT, everything kept" },
  { code: EXIT.difference, meaning: "compared and found different, or checked and found wrong" },
  { code: EXIT.usage, meaning: "the command line, a variable or the schema file is wrong" },
  { code: EXIT.connection, meaning: "a server could not be reached, or refused the login" },
  { code: EXIT.setup, meaning: "PostgreSQL or the search engine is not set up as it must be" },
  { code: EXIT.halted, meaning: "halted: going on could lose changes" },
  { code: EXIT.internal, meaning: "a fault in pgsync itself" },
  { code: 130, meaning: "interrupted by SIGINT before it was done" },
  { code: 143, meaning: "stopped by SIGTERM before it was done" },
];

/**
 * The whole command line. It prints help and version, and throws commander's errors instead of exiting.
 *
 * @param context what the commands work with
 */
export function buildProgram(context: Context) {
  const sync = syncCommand(context);
  const program = new Command("pgsync")
    .description("Keeps Elasticsearch and OpenSearch documents equal to PostgreSQL, by logical replication.")
    .usage("[command] [options]")
    .version(`pgsync ${VERSION}`, "--version", "print the version")
    .helpOption("--help", "print this help")
    .helpCommand(false)
    .configureHelp({
      subcommandTerm: (command) => command.name(),
      // `pgsync --help` shows the options of sync too, which is what runs without a command
      visibleOptions: (command) => {
        const own = new Help().visibleOptions(command);
        return command.name() === "pgsync" ? [...new Help().visibleOptions(sync).slice(0, -1), ...own] : own;
      },
    })
    .configureOutput({ outputError: () => {} })
    .addHelpText(
      "after",
      `\nExit codes:\n${
        EXIT_MEANINGS.map(({ code, meaning }) => `  ${String(code).padEnd(4)} ${meaning}`).join("\n")
      }`,
    )
    .exitOverride();
  const commands = [
    sync,
    bootstrapCommand(context),
    teardownCommand(context),
    planCommand(context),
    validateCommand(context),
    previewCommand(context),
    verifyCommand(context),
    refreshCommand(context),
    statusCommand(context),
    deadLettersCommand(context),
    takeOverCommand(context),
  ];
  for (const command of commands) {
    command.copyInheritedSettings(program).helpOption("--help", "print this help");
    program.addCommand(command, { isDefault: command === sync });
  }
  return program;
}
