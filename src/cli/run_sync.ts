/** The default command's work: a run, its status server, its progress, and its end. */
import process from "node:process";
import { getLogger } from "@logtape/logtape";
import { PgsyncError } from "../errors/error.ts";
import { createApp } from "../server/app.ts";
import { listen, type Listener } from "../server/listen.ts";
import { createMetrics } from "../server/metrics.ts";
import type { DeadLetterAccess } from "../sync/dead_letters/dead_letters.ts";
import type { RunOptions } from "../sync/options.ts";
import type { RunStatus, SyncObserver } from "../status/status.ts";
import { Synchronizer } from "../sync/synchronizer.ts";
import type { Context } from "./context.ts";
import type { Flags } from "./flags.ts";
import { type ListenSetting, listenSetting, localUrl } from "./listen_address.ts";
import { startProgress } from "./progress.ts";
import { isLoopback } from "./loopback.ts";
import { loadRunOptions } from "./run_options.ts";
import { logInterval, switchedOn } from "./run_settings.ts";
import { keepRunToken, makeRunToken } from "./run_token.ts";
import { SIGNAL_EXIT, stopOnSignals } from "./signals.ts";
import { tokenSetting } from "./token.ts";
import type { Environment } from "./variables.ts";
import { VERSION } from "../version.ts";

const logger = getLogger(["pgsync", "cli"]);

/**
 * A run that is asked to stop gets so long. A server that has gone silent could hold it for ever, and ending it is as
 * safe as a crash: what is acknowledged is in the checkpoint file.
 */
const STOP_LIMIT_MS = 8_000;

/** What is needed of a synchronizer here. */
export interface Runner {
  run(control: { readonly signal: AbortSignal; readonly daemon: boolean }): Promise<void>;
  status(): RunStatus;
  readonly deadLetters: DeadLetterAccess;
}

/**
 * Runs until everything is caught up, or with `--daemon` until a signal.
 *
 * @param makeRunner by default the synchronizer
 * @throws PgsyncError what halts the run
 */
export async function runSync(
  context: Context,
  flags: Flags,
  environment: Environment,
  makeRunner: (options: RunOptions, observer: SyncObserver) => Runner = (options, observer) =>
    new Synchronizer(options, observer),
): Promise<void> {
  const daemon = switchedOn(environment, "PGSYNC_DAEMON", flags.daemon);
  const lineSeconds = logInterval(environment);
  const wantedListen = listenSetting(flags, environment);
  const configured = tokenSetting(environment);
  const token = configured ?? makeRunToken();
  const options = await loadRunOptions(flags, environment);
  const stop = stopOnSignals();

  const observers: SyncObserver[] = [];
  const runner = makeRunner(options, (event) => observers.forEach((observe) => observe(event)));
  const metrics = createMetrics(() => runner.status(), VERSION);
  const app = createApp({
    status: () => runner.status(),
    metrics: metrics.registry,
    version: VERSION,
    deadLetters: {
      access: runner.deadLetters,
      indices: options.schema.documents.map(({ index }) => index),
    },
    access: {
      token,
      guardsStatus: configured !== null,
      isOwnName: isLoopback(wantedListen.address?.hostname ?? "") ? isLoopback : () => true,
    },
  });
  const listener = await startServer(app, wantedListen, daemon);
  const forgetToken = listener === null || configured !== null
    ? () => {}
    : keepRunToken(options.checkpointFolder, localUrl(listener), token);
  const bars = process.stderr.isTTY === true && context.failureStyle.format === "text";
  const progress = startProgress(() => runner.status(), { bars, lineSeconds });
  observers.push(metrics.observe, progress.observe);
  try {
    if (!await endsInTime(runner.run({ signal: stop.signal, daemon }), stop.signal)) {
      logger.warn(
        "the run did not end in good order within {seconds} s (a server does not answer); it ends now, and the " +
          "next one goes on from the stored position",
        { seconds: STOP_LIMIT_MS / 1000 },
      );
    }
  } finally {
    progress.stop();
    forgetToken();
    await listener?.close();
  }
  const stopped = stop.received();
  if (stopped === null) logger.info("caught up, done");
  else if (daemon) logger.info("stopped by {signal}, everything acknowledged is kept", { signal: stopped });
  else {
    logger.warn("stopped by {signal} before it was done; the next run goes on from here", {
      signal: stopped,
    });
    context.exitCode = SIGNAL_EXIT[stopped];
  }
}

/** Whether the run ended by itself, not later than the limit after the signal. @throws what the run throws */
async function endsInTime(run: Promise<void>, stop: AbortSignal): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<false>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const onStop = () => {
    timer = setTimeout(resolve, STOP_LIMIT_MS, false);
  };
  stop.addEventListener("abort", onStop, { once: true });
  try {
    return await Promise.race([run.then(() => true), late]);
  } finally {
    stop.removeEventListener("abort", onStop);
    clearTimeout(timer);
  }
}

/**
 * A run that ends by itself does without the server where only the default address is taken: a daemon may have it.
 */
async function startServer(
  app: ReturnType<typeof createApp>,
  wanted: ListenSetting,
  daemon: boolean,
): Promise<Listener | null> {
  if (wanted.address === null) return null;
  try {
    const listener = await listen(app, wanted.address);
    logger.info("status at {url}", { url: localUrl(listener) });
    return listener;
  } catch (thrown) {
    if (!(thrown instanceof PgsyncError) || daemon || wanted.explicit) throw thrown;
    logger.warn("no status server in this run: {reason}", { reason: thrown.message });
    return null;
  }
}
