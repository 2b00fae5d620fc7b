/** SIGINT and SIGTERM: the first asks the command to end well, the second ends it at once. */
import process from "node:process";

/** The signals that end a command. */
export type StopSignal = "SIGINT" | "SIGTERM";

/** 128 + the number of the signal, as shells report it. */
export const SIGNAL_EXIT: Readonly<Record<StopSignal, number>> = { SIGINT: 130, SIGTERM: 143 };

/** The wish to stop. */
export interface StopRequest {
  /** Aborted at the first signal. */
  readonly signal: AbortSignal;
  /** The first signal, or null. */
  received(): StopSignal | null;
}

/**
 * Listens for the signals. A second one ends the process with its exit code: everything that was acknowledged is
 * in the checkpoint file already.
 */
export function stopOnSignals(): StopRequest {
  const controller = new AbortController();
  let first: StopSignal | null = null;
  const listen = (name: StopSignal) =>
    process.on(name, () => {
      if (first !== null) process.exit(SIGNAL_EXIT[name]);
      first = name;
      controller.abort(name);
    });
  listen("SIGINT");
  listen("SIGTERM");
  return { signal: controller.signal, received: () => first };
}
