import { getLogger } from "@logtape/logtape";
import { PgsyncError } from "../../errors/error.ts";
import type { Sql } from "../../postgres/connect.ts";
import type { ServerIdentity } from "../../postgres/server_identity.ts";
import { isHeldBy } from "../../replication/slot.ts";
import type { Lsn } from "../../replication/lsn.ts";
import { orAborted } from "../../retry/abort.ts";
import { backoffDelay, delay } from "../../retry/backoff.ts";
import type { SlotClaim } from "./slot_claim.ts";
import { isLoss } from "./slot_loss.ts";

const logger = getLogger(["pgsync", "sync"]);

/** Waits for a walsender of ours to end. */
const LOOK_LIMITS = { baseMs: 100, capMs: 1_000 };
/** For as long as that a server keeps, by default, a walsender whose client is gone (wal_sender_timeout). */
const OWN_WALSENDER_MS = 60_000;

/** What is to be held on to. */
export interface HeldOn {
  readonly claim: SlotClaim;
  readonly admin: Sql;
  readonly slotName: string;
  /** Where the following has ended; 0 for the slot's own position. */
  readonly position: Lsn;
  readonly server: ServerIdentity;
  /** Called while a walsender of ours, which has not ended yet, keeps the slot. */
  readonly onWait: (fault: PgsyncError) => void;
}

/**
 * Holds the slot between two times of following it, unless there is none to be held any more. The walsender of before may be in the middle of
 * decoding, and notices later that its connection is gone: it is waited for, since it is no other process.
 *
 * @throws PgsyncError as `SlotClaim.hold`; the signal's reason
 */
export async function holdOn(held: HeldOn, signal: AbortSignal): Promise<void> {
  const { claim, admin, slotName, position, server, onWait } = held;
  const deadline = performance.now() + OWN_WALSENDER_MS;
  for (let attempt = 0;; attempt++) {
    try {
      return await claim.hold(position, server, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      if (!(thrown instanceof PgsyncError)) throw thrown;
      if (isLoss(thrown)) {
        return logger.debug("the slot cannot be held: {reason}", { reason: thrown.message });
      }
      if (thrown.code !== "SLOT_ACTIVE" || performance.now() > deadline) throw thrown;
      if (!await orAborted(isHeldBy(admin, slotName, claim.walsenders), signal)) throw thrown;
      onWait(thrown);
    }
    await delay(backoffDelay(attempt, LOOK_LIMITS), signal);
  }
}
