import { Command } from "@commander-js/extra-typings";
import { type Context, prepare } from "../context.ts";
import { escapeJson } from "../format.ts";
import { withLogAndEnvironment, withPostgres, withSchemaFile } from "../option_groups.ts";
import * as options from "../options.ts";
import { SIGNAL_EXIT, stopOnSignals } from "../signals.ts";

/** `pgsync preview`: the documents on stdout, without a search engine. */
export function previewCommand(context: Context) {
  const command = withPostgres(withSchemaFile(
    new Command("preview")
      .description(
        "print the documents, one JSON object {_index,_id,_source} a line, without a search engine",
      )
      .option("--limit <count>", "at most so many documents of each index"),
  ));
  return withLogAndEnvironment(
    command
      .addOption(options.replicaHost)
      .addOption(options.replicaPort)
      .addOption(options.timeZone),
  )
    .action(async (flags) => {
      const environment = await prepare(context, flags);
      const [{ loadRunOptions }, { preview }, { wholeNumber }] = await Promise.all([
        import("../run_options.ts"),
        import("../../sync/preview.ts"),
        import("../values.ts"),
      ]);
      const limit = flags.limit === undefined
        ? null
        : wholeNumber({ where: "--limit", value: flags.limit }, 0, Number.MAX_SAFE_INTEGER);
      const run = await loadRunOptions(flags, environment);
      const stop = stopOnSignals();
      const signal = AbortSignal.any([stop.signal, context.output.closed]);
      for await (const { _index, _id, _source } of preview(run, limit, signal)) {
        if (signal.aborted) break;
        // the document's own bytes: every digit of its numbers survives
        await context.output.write(
          escapeJson(
            `{"_index":${JSON.stringify(_index)},"_id":${JSON.stringify(_id)},"_source":${_source}}\n`,
          ),
        );
      }
      const stopped = stop.received();
      if (stopped !== null) context.exitCode = SIGNAL_EXIT[stopped];
    });
}
