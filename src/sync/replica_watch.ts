import { getLogger } from "@logtape/logtape";
import type { SourceClock } from "../documents/source_clock.ts";
import { StandbyClock } from "../documents/standby_clock.ts";
import { PgsyncError } from "../errors/error.ts";
import { delayOrAbort } from "../retry/backoff.ts";

const logger = getLogger(["pgsync", "sync"]);

/** How often a replica is looked at, in case nothing else is asked of it. */
const REPLICA_LOOK_MS = 2_000;

/** Looks at the replica, where documents are read from one, until the signal. @param onUnfit it is none any more */
export async function watchReplica(
  clock: SourceClock,
  onUnfit: (error: PgsyncError) => void,
  signal: AbortSignal,
): Promise<void> {
  if (!(clock instanceof StandbyClock)) return;
  while (!signal.aborted) {
    await delayOrAbort(REPLICA_LOOK_MS, signal);
    try {
      if (!signal.aborted) await clock.check();
    } catch (error) {
      if (error instanceof PgsyncError && error.code === "REPLICA_UNFIT") onUnfit(error);
      logger.debug("the replica could not be looked at: {error}", { error });
    }
  }
}
