import { Command } from "@commander-js/extra-typings";
import { EXIT } from "../../errors/codes.ts";
import { type Context, prepare } from "../context.ts";
import { withLogAndEnvironment } from "../option_groups.ts";
import { escapeJson } from "../format.ts";
import * as options from "../options.ts";

/** `pgsync status`: ask the running process how it is. */
export function statusCommand(context: Context) {
  return withLogAndEnvironment(
    new Command("status")
      .description("ask the running process how it is; exits 0 while it lives and has not halted")
      .option("--url <url>", "its status server; by default on the --listen address (env: PGSYNC_STATUS_URL)")
      .option(
        "--ready",
        "exit 1 unless it is ready: loaded, streaming, and the search engine takes documents",
      )
      .option("--json", "the answer as it came")
      .addOption(options.listen),
  )
    .action(async (flags) => {
      const environment = await prepare(context, flags);
      const [{ askStatus, runAddress }, { describeStatus }] = await Promise.all([
        import("../ask_status.ts"),
        import("../print_status.ts"),
      ]);
      const { text, status } = await askStatus(runAddress(flags, environment));
      await context.output.write(
        flags.json === true ? `${escapeJson(text.trim())}\n` : `${describeStatus(status, new Date())}\n`,
      );
      if (status.databases.some(({ phase }) => phase === "halted")) context.exitCode = EXIT.halted;
      else if (flags.ready === true && !status.ready) context.exitCode = EXIT.difference;
    });
}
