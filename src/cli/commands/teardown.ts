import { Command } from "@commander-js/extra-typings";
import { type Context, prepare } from "../context.ts";
import * as options from "../options.ts";

/** `pgsync teardown`: remove what bootstrap and runs have made. */
export function teardownCommand(context: Context) {
  return new Command("teardown")
    .description("remove what bootstrap and runs have made: slot, publication, index, checkpoint file")
    .addOption(options.config)
    .addOption(options.schemaUrl)
    .addOption(options.s3SchemaUrl)
    .addOption(options.host)
    .addOption(options.port)
    .addOption(options.user)
    .addOption(options.password)
    .addOption(options.sslmode)
    .addOption(options.sslrootcert)
    .addOption(options.slot)
    .addOption(options.checkpoint)
    .addOption(options.logFormat)
    .addOption(options.verbose)
    .addOption(options.envFile)
    .addOption(options.noEnvFile)
    .action(async (flags) => {
      const environment = await prepare(context, flags);
      const [{ loadRunOptions }, { teardown }] = await Promise.all([
        import("../run_options.ts"),
        import("../../sync/bootstrap.ts"),
      ]);
      const run = await loadRunOptions(flags, environment);
      await teardown(run, (line) => void context.output.write(`${line}\n`));
    });
}
