/**
 * `pgsync sync` with a synchronizer that only waits: until it is told to stop, or with ENDS_BY_ITSELF until it has
 * "caught up". With STUBBORN it does not listen. What is tested is how the command line treats a run.
 */
import process from "node:process";
import type { Context } from "../../src/cli/context.ts";
import { prepare } from "../../src/cli/context.ts";
import { standardOutput } from "../../src/cli/output.ts";
import { runSync } from "../../src/cli/run_sync.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import { DeadLetters } from "../../src/sync/dead_letters/dead_letters.ts";
import { LOADING, run, STREAMING } from "../server/sample_status.ts";

const context: Context = {
  environment: process.env,
  output: standardOutput(),
  failureStyle: { format: "text", verbose: false },
  exitCode: 0,
};
const { ENDS_BY_ITSELF, STUBBORN, HALTS, DAEMON, LISTEN } = process.env;
const flags = { config: "-", daemon: DAEMON !== undefined, listen: LISTEN };
const environment = await prepare(context, flags);
try {
  await runSync(context, flags, environment, (options, observe) => ({
    deadLetters: new DeadLetters(new Map(), null),
    status: () => run(HALTS === undefined ? STREAMING : { ...LOADING, phase: "halted" }),
    run: async ({ signal, daemon }) => {
      observe({ type: "phase", phase: "streaming" });
      observe({ type: "changes", table: "public.book", operation: "insert", count: 5 });
      process.stderr.write(`running ${options.postgres.user} daemon=${daemon}\n`);
      if (ENDS_BY_ITSELF !== undefined) return;
      const keepAlive = setInterval(() => {}, 1000);
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => {
          process.stderr.write("asked to stop\n");
          if (STUBBORN === undefined) resolve();
        });
      });
      clearInterval(keepAlive);
      if (HALTS !== undefined) throw new PgsyncError("SLOT_LOST", "PostgreSQL has removed WAL.");
    },
  }));
} catch (thrown) {
  if (!(thrown instanceof PgsyncError)) throw thrown;
  process.stderr.write(`${thrown.code}\n`);
  context.exitCode = thrown.exitCode;
}
process.exit(context.exitCode);
