import { Command } from "@commander-js/extra-typings";
import { EXIT } from "../../errors/codes.ts";
import { type Context, prepare } from "../context.ts";
import { withLogAndEnvironment, withPostgres, withSchemaFile } from "../option_groups.ts";
import * as options from "../options.ts";

/** `pgsync plan`: what a run would do, and what stands in its way. */
export function planCommand(context: Context) {
  const command = withPostgres(withSchemaFile(
    new Command("plan")
      .description(
        "show what a run would do and what is missing, without doing it; exits 1 where something is wrong",
      )
      .option("--json", "as JSON, with all statements and mappings"),
  ));
  return withLogAndEnvironment(command
    .addOption(options.slot))
    .action(async (flags) => {
      const environment = await prepare(context, flags);
      const [{ loadRunOptions }, { planRun }, { describePlan }, { toJson }] = await Promise.all([
        import("../run_options.ts"),
        import("../../sync/setup/plan_run.ts"),
        import("../print_plan.ts"),
        import("../format.ts"),
      ]);
      const plan = await planRun(await loadRunOptions(flags, environment));
      const text = flags.json === true ? toJson(plan, 2) : describePlan(plan, context.failureStyle.verbose);
      await context.output.write(`${text}\n`);
      if (plan.databases.some(({ problems }) => problems.length > 0)) context.exitCode = EXIT.difference;
    });
}
