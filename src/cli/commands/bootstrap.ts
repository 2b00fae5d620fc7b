import { Command } from "@commander-js/extra-typings";
import { type Context, prepare } from "../context.ts";
import { withLogAndEnvironment, withPostgres, withSchemaFile } from "../option_groups.ts";
import * as options from "../options.ts";

/** `pgsync bootstrap`: make what a run needs. */
export function bootstrapCommand(context: Context) {
  const command = withPostgres(withSchemaFile(
    new Command("bootstrap")
      .description("make what a run needs and is missing: publication, replica identities, slot, index")
      .option("-t, --teardown", "remove it all instead, as `pgsync teardown`")
      .option("--no-create", "as PGSync's -nc; what exists is never made again anyway"),
  ));
  return withLogAndEnvironment(
    command
      .addOption(options.slot)
      .addOption(options.onSlotLoss)
      .addOption(options.checkpoint),
  )
    .action(async (flags) => {
      const environment = await prepare(context, flags);
      const [{ loadRunOptions }, { bootstrap, teardown }] = await Promise.all([
        import("../run_options.ts"),
        import("../../sync/setup/bootstrap.ts"),
      ]);
      const run = await loadRunOptions(flags, environment);
      const act = flags.teardown === true ? teardown : bootstrap;
      await act(run, (line) => void context.output.write(`${line}\n`));
    });
}
