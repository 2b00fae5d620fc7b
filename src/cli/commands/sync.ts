import { Command } from "@commander-js/extra-typings";
import { getLogger } from "@logtape/logtape";
import { PgsyncError } from "../../errors/error.ts";
import { type Context, prepare } from "../context.ts";
import { withLogAndEnvironment, withPostgres, withSchemaFile } from "../option_groups.ts";
import * as options from "../options.ts";
import { VERSION } from "../../version.ts";

/** `pgsync [sync]`: load, catch up, and with `--daemon` stay. */
export function syncCommand(context: Context) {
  const started = withSchemaFile(
    new Command("sync")
      .description(
        "load the documents and catch up with the changes; with --daemon stay and follow them (the default command)",
      ),
  )
    .addOption(options.daemon)
    .addOption(options.bootstrap)
    .addOption(options.onSlotLoss)
    .addOption(options.standby);
  const connected = withPostgres(started)
    .addOption(options.replicaHost)
    .addOption(options.replicaPort)
    .addOption(options.timeZone)
    .addOption(options.slot)
    .addOption(options.checkpoint)
    .addOption(options.numWorkers)
    .addOption(options.viewRefresh)
    .addOption(options.maxDeadLetters)
    .addOption(options.maxMemoryMb)
    .addOption(options.listen);
  return withLogAndEnvironment(connected)
    .addOption(options.wal)
    .addOption(options.producer)
    .addOption(options.consumer)
    .addOption(options.polling)
    .addOption(options.analyze)
    // What stands where a command is expected comes here, for this is the default command.
    .argument("[word...]")
    .usage("[options]")
    .action(async (words, flags, command) => {
      const [word] = words;
      if (word !== undefined) {
        await refuseWord(
          word,
          command.parent?.commands.map((each) => each.name()) ?? [],
        );
      }
      const environment = await prepare(context, flags);
      // before the heavy modules are read, so that a log shows at once that it lives
      getLogger(["pgsync", "cli"]).info("pgsync {version} starts", { version: VERSION });
      const { runSync } = await import("../run_sync.ts");
      await runSync(context, flags, environment);
    });
}

async function refuseWord(word: string, commands: readonly string[]): Promise<never> {
  if (commands.includes(word)) {
    throw new PgsyncError("USAGE", `The command comes first: pgsync ${word} …`);
  }
  const { didYouMean } = await import("../../schema/suggest.ts");
  throw new PgsyncError("USAGE", `There is no command "${word}"${didYouMean(word, commands) || "."}`, {
    remedy: word === "parallel_sync"
      ? "`pgsync sync` loads in parallel by itself (--num-workers)."
      : `The commands are ${commands.join(", ")}. The schema file is named with --config.`,
  });
}
