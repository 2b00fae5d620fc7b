import { Command } from "@commander-js/extra-typings";
import { type Context, prepare } from "../context.ts";
import { withLogAndEnvironment, withPostgres, withSchemaFile } from "../option_groups.ts";
import * as options from "../options.ts";

/** `pgsync teardown`: remove what bootstrap and runs have made. */
export function teardownCommand(context: Context) {
  const command = withPostgres(withSchemaFile(
    new Command("teardown")
      .description("remove what bootstrap and runs have made: slot, publication, index, checkpoint file"),
  ));
  return withLogAndEnvironment(
    command
      .addOption(options.slot)
      .addOption(options.checkpoint),
  )
    .action(async (flags) => {
      const environment = await prepare(context, flags);
      const [{ loadRunOptions }, { teardown }] = await Promise.all([
        import("../run_options.ts"),
        import("../../sync/setup/bootstrap.ts"),
      ]);
      const run = await loadRunOptions(flags, environment);
      await teardown(run, (line) => void context.output.write(`${line}\n`));
    });
}
