import { Command } from "@commander-js/extra-typings";
import { type Context, prepare } from "../context.ts";
import * as options from "../options.ts";

/** `pgsync refresh`: refresh the materialised views that documents read. */
export function refreshCommand(context: Context) {
  return new Command("refresh")
    .description("refresh the materialised views that documents read; a run that is under way notices it")
    .addOption(options.config)
    .addOption(options.schemaUrl)
    .addOption(options.s3SchemaUrl)
    .addOption(options.host)
    .addOption(options.port)
    .addOption(options.user)
    .addOption(options.password)
    .addOption(options.sslmode)
    .addOption(options.sslrootcert)
    .addOption(options.logFormat)
    .addOption(options.verbose)
    .addOption(options.envFile)
    .addOption(options.noEnvFile)
    .action(async (flags) => {
      const environment = await prepare(context, flags);
      const [{ loadRunOptions }, { refreshAll }] = await Promise.all([
        import("../run_options.ts"),
        import("../../sync/refresh_run.ts"),
      ]);
      const run = await loadRunOptions(flags, environment);
      await refreshAll(run, (line) => void context.output.write(`${line}\n`));
    });
}
