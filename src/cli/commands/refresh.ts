import { Command } from "@commander-js/extra-typings";
import { type Context, prepare } from "../context.ts";
import { withLogAndEnvironment, withPostgres, withSchemaFile } from "../option_groups.ts";

/** `pgsync refresh`: refresh the materialised views that documents read. */
export function refreshCommand(context: Context) {
  const command = withPostgres(withSchemaFile(
    new Command("refresh")
      .description("refresh the materialised views that documents read; a run that is under way notices it"),
  ));
  return withLogAndEnvironment(command)
    .action(async (flags) => {
      const environment = await prepare(context, flags);
      const [{ loadRunOptions }, { refreshAll }] = await Promise.all([
        import("../run_options.ts"),
        import("../../sync/source/refresh_run.ts"),
      ]);
      const run = await loadRunOptions(flags, environment);
      await refreshAll(run, (line) => void context.output.write(`${line}\n`));
    });
}
