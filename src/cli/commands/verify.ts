import { Command } from "@commander-js/extra-typings";
import { type Context, prepare } from "../context.ts";
import { withLogAndEnvironment, withPostgres, withSchemaFile } from "../option_groups.ts";
import * as options from "../options.ts";

/** `pgsync verify`: compare every document with PostgreSQL, beside a running sync. */
export function verifyCommand(context: Context) {
  const command = withPostgres(withSchemaFile(
    new Command("verify")
      .description(
        "compare the documents of the indices with PostgreSQL, also beside a running sync; exits 1 where they differ",
      )
      .option(
        "--repair",
        "write what differs anew and remove what is extra; exits 1 only where something remains",
      )
      .option("--sample <count>", "only so many documents of each side, chosen at random")
      .option(
        "--since <lsn>",
        "only documents that the index holds in a version of this WAL position or later",
      )
      .option("--index <names...>", "only these indices of the schema file")
      .option("--limit <count>", "how many differences of each index are told one by one; 20")
      .option(
        "--wait <seconds>",
        "how long a running sync may stand still, or a server be away, before this gives up; 300",
      )
      .option("--json", "as JSON"),
  ));
  return withLogAndEnvironment(
    command
      .addOption(options.timeZone)
      .addOption(options.slot)
      .addOption(options.checkpoint)
      .addOption(options.numWorkers)
      .addOption(options.maxMemoryMb),
  )
    .action(async (flags) => {
      const environment = await prepare(context, flags);
      const { runVerify } = await import("../run_verify.ts");
      await runVerify(context, flags, environment);
    });
}
