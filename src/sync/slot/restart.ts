import { PgsyncError } from "../../errors/error.ts";
import type { RunOptions } from "../options.ts";
import type { Remap } from "../run_signals.ts";
import { isCarried, verdict } from "./slot_loss.ts";

/** Why the following begins anew. */
export interface Restart extends Remap {
  /** What ended it; none where the tables have changed. */
  readonly error?: PgsyncError;
}

/**
 * How a run goes on after an error that ended the following.
 *
 * @throws the error, where it does not
 */
export function restartAfter(error: PgsyncError, run: Pick<RunOptions, "onSlotLoss" | "bootstrap">): Restart {
  switch (verdict(run, error)) {
    case "halt":
      throw error;
    case "reopen":
      return { reason: `${error.message} All sessions are opened anew.`, error };
    case "resync":
      return { reason: `Changes ${isCarried(error) ? "are" : "may be"} lost: ${error.message}`, error };
  }
}
