import { Argument, Command } from "@commander-js/extra-typings";
import { type Context, prepare } from "../context.ts";
import { withLogAndEnvironment, withPostgres, withSchemaFile } from "../option_groups.ts";
import * as options from "../options.ts";

/** `pgsync dead-letters list|retry|drop`: the documents that were refused. */
export function deadLettersCommand(context: Context) {
  const command = withPostgres(withSchemaFile(
    new Command("dead-letters")
      .description(
        "list the documents that were refused, try them again, or forget them; beside a running sync, too",
      )
      .addArgument(new Argument("<action>", "what to do").choices(["list", "retry", "drop"] as const))
      .option("--index <names...>", "only these indices of the schema file")
      .option("--id <ids...>", "only documents with these ids")
      .option("--all", "retry, drop: all of them; list: without --limit")
      .option("--limit <count>", "list: at most so many; 100")
      .option(
        "--url <url>",
        "status server of the run; by default on the --listen address (env: PGSYNC_STATUS_URL)",
      )
      .option("--json", "as JSON"),
  ));
  return withLogAndEnvironment(
    command
      .addOption(options.timeZone)
      .addOption(options.slot)
      .addOption(options.checkpoint)
      .addOption(options.listen),
  )
    .action(async (action, flags) => {
      const environment = await prepare(context, flags);
      const { runDeadLetters } = await import("../run_dead_letters.ts");
      await runDeadLetters(context, action, flags, environment);
    });
}
