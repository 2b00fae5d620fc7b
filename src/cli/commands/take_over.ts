import { Command } from "@commander-js/extra-typings";
import { type Context, prepare } from "../context.ts";
import { withLogAndEnvironment, withPostgres, withSchemaFile } from "../option_groups.ts";
import * as options from "../options.ts";

/** `pgsync take-over`: end the session of a process that is frozen or cut off, which keeps the slot. */
export function takeOverCommand(context: Context) {
  const command = withPostgres(withSchemaFile(
    new Command("take-over")
      .description("end the walsender that holds the slot, so that a process that stands by takes over"),
  )).addOption(options.slot);
  return withLogAndEnvironment(command)
    .action(async (flags) => {
      const environment = await prepare(context, flags);
      const [{ loadRunOptions }, { takeOver }] = await Promise.all([
        import("../run_options.ts"),
        import("../../sync/standby/take_over_run.ts"),
      ]);
      const run = await loadRunOptions(flags, environment);
      await takeOver(run, (line) => void context.output.write(`${line}\n`));
    });
}
