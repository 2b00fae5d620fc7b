import { PgsyncError } from "../errors/error.ts";
import type { RunOptions } from "./options.ts";
import type { RunStatus, SyncObserver } from "./status.ts";

/** Follows every database of a schema file and keeps its indices equal. */
export class Synchronizer {
  constructor(readonly options: RunOptions, readonly observer?: SyncObserver) {}

  /**
   * Loads and catches up; with `daemon` it goes on streaming until the signal.
   *
   * @throws PgsyncError
   */
  run(_control: { readonly signal: AbortSignal; readonly daemon: boolean }): Promise<void> {
    return Promise.reject(new PgsyncError("INTERNAL", "The synchronizer is not built yet."));
  }

  /** A snapshot of the run. */
  status(): RunStatus {
    throw new PgsyncError("INTERNAL", "The synchronizer is not built yet.");
  }
}
