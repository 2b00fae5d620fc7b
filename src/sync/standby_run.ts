import { getLogger } from "@logtape/logtape";
import { type PgsyncError, toPgsyncError } from "../errors/error.ts";
import { connectPostgres, errorContext, type Sql } from "../postgres/connect.ts";
import { postgresError } from "../postgres/errors.ts";
import { watchLink } from "../postgres/link_watch.ts";
import { assertUsableSlot, inspectSlot, type SlotState } from "../replication/slot.ts";
import { orAborted } from "../retry/abort.ts";
import { delay } from "../retry/backoff.ts";
import type { DocumentSchema } from "../schema/tree.ts";
import { slotName } from "./database_mapping.ts";
import { type DatabaseControl, DatabaseRun, type SharedOptions } from "./database_run.ts";
import { FREE_FOR_MS, FreeSlotWatch } from "./free_slot.ts";
import { SlotClaim } from "./slot_claim.ts";
import { isLoss, mayResync, standsByAfter } from "./slot_loss.ts";

const logger = getLogger(["pgsync", "standby"]);

/** How often the slot is looked at while another process holds it. */
const LOOK_EVERY_MS = 250;
/** A role that may not log in any more is tried more seldom, lest it be locked out. */
const LOOK_AFTER_LOGIN_MS = 30_000;
/** How long a process that has let go of its slot may take to let go of its checkpoint file, too: it sees to the end what it has sent. */
const FILE_WAIT_MS = 7_000;
const FILE_LOOK_MS = 250;
/** Whoever holds our checkpoint file lives, and gets more time to come back to its slot. */
const FREE_FOR_FILE_HOLDER_MS = 3 * FREE_FOR_MS;

/**
 * A run of one database that follows it only while no other process does (docs/operations.md, "A second process that stands
 * by"). The slot is the lock: PostgreSQL lets one session follow it, and nothing is written before that session is ours. Whoever was
 * replaced stands by again.
 */
export class StandbyRun {
  readonly #slot: string;
  /** Who held the slot when that was last logged. */
  #told: string | null = null;

  constructor(
    private readonly database: string,
    private readonly documents: readonly DocumentSchema[],
    private readonly shared: SharedOptions,
  ) {
    this.#slot = slotName(shared.run.slot, database);
  }

  /** @throws PgsyncError that another attempt would meet again; the signal's reason where it is aborted while this stands by */
  async run(control: DatabaseControl): Promise<void> {
    const { run: { postgres } } = this.shared;
    const { database } = this;
    // What is set up wrongly is better known now than when it is needed.
    await new DatabaseRun(database, this.documents, this.shared).check(control.signal);
    const sql = connectPostgres(postgres, { database, purpose: "standby", max: 1, kind: "admin" });
    try {
      for (let freeForMs = FREE_FOR_MS;;) {
        const reason = await this.#untilReplaced(sql, freeForMs, control);
        if (reason === null) return;
        freeForMs = this.#standAgain(reason);
      }
    } finally {
      await sql.end({ timeout: 0 });
    }
  }

  /** Tells why this process stands by again. @returns how long the slot has to be free next time, in milliseconds */
  #standAgain(reason: PgsyncError): number {
    this.#told = null;
    switch (reason.code) {
      case "SLOT_ACTIVE":
      case "CHECKPOINT_BEHIND":
        logger.warn("{reason} This process was replaced, and stands by.", { reason: reason.message });
        return FREE_FOR_MS;
      case "CHECKPOINT_LOCKED":
        logger.warn(
          "{reason} The slot {slot} is free, but nobody can go on without the file: if that process is frozen, end it. This one stands by.",
          { reason: reason.message, slot: this.#slot },
        );
        return FREE_FOR_FILE_HOLDER_MS;
      default:
        this.shared.board.retry(reason, "replication");
        return FREE_FOR_MS;
    }
  }

  /** Stands by, then follows the database. @returns null at the end of the run; else why this process has to stand by again */
  async #untilReplaced(sql: Sql, freeForMs: number, control: DatabaseControl): Promise<PgsyncError | null> {
    const { board, run: { postgres } } = this.shared;
    const { database } = this;
    const slot = this.#slot;
    await using hold = new SlotClaim({ options: postgres, database, slot, publication: slot });
    await this.#stand(sql, hold, new FreeSlotWatch(freeForMs), control.signal);
    const began = performance.now();
    board.phase = "starting";
    logger.info("slot {slot} of database {database} is free; this process follows it from now on", {
      slot,
      database,
    });
    while (true) {
      try {
        await new DatabaseRun(database, this.documents, this.shared, hold).run(control);
        return null;
      } catch (thrown) {
        const error = toPgsyncError(thrown);
        if (control.signal.aborted || !standsByAfter(error)) throw thrown;
        // A process that ends lets go of the slot first, and of the file a moment later.
        const isEnding = error.code === "CHECKPOINT_LOCKED" && hold.isHeld &&
          performance.now() - began < FILE_WAIT_MS;
        if (!isEnding) return error;
      }
      await delay(FILE_LOOK_MS, control.signal);
    }
  }

  /** Waits until the slot can be held, or made. @throws PgsyncError; the signal's reason */
  async #stand(sql: Sql, hold: SlotClaim, watch: FreeSlotWatch, signal: AbortSignal): Promise<void> {
    const { board, run: { postgres: options } } = this.shared;
    const over = new AbortController();
    const onFault = (fault: PgsyncError) => {
      watch.look(null, performance.now());
      board.retry(fault);
      board.standBy({ problem: fault.message });
    };
    const watched = { options, database: this.database, onSilence: onFault };
    void watchLink(watched, AbortSignal.any([signal, over.signal]));
    board.standBy({ problem: null });
    try {
      while (true) {
        let wait = LOOK_EVERY_MS;
        try {
          if (await this.#takes(sql, hold, watch, signal)) return;
        } catch (thrown) {
          signal.throwIfAborted();
          const error = toPgsyncError(thrown);
          if (error.code === "POSTGRES_LOGIN") wait = LOOK_AFTER_LOGIN_MS;
          else if (error.next !== "retry") throw error;
          // Another standby was faster.
          if (error.code !== "SLOT_ACTIVE") onFault(error);
        }
        await delay(wait, signal);
      }
    } finally {
      over.abort();
    }
  }

  /** Looks once, and takes the slot where it is time. @returns whether it is ours to follow, or to make */
  async #takes(sql: Sql, hold: SlotClaim, watch: FreeSlotWatch, signal: AbortSignal): Promise<boolean> {
    const slot = await orAborted(this.#look(sql), signal);
    const unusable = this.#unusable(slot);
    const isFree = unusable !== null || slot?.active !== true;
    this.#tell(isFree ? null : slot);
    if (!watch.look(isFree, performance.now())) return false;
    // Also where there is a slot: whoever has just made it loads nothing before it holds it.
    if (!await hold.makesAlone(signal)) return false;
    try {
      const isMissing = this.#unusable(await orAborted(this.#look(sql), signal)) !== null;
      if (!isMissing) await hold.hold(0n, null, signal);
      return true;
    } catch (thrown) {
      await hold[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  async #look(sql: Sql): Promise<SlotState | null> {
    try {
      return await inspectSlot(sql, this.#slot);
    } catch (thrown) {
      throw postgresError(thrown, errorContext(sql, "look at its replication slots"));
    }
  }

  /** Why the slot cannot be followed, where this run may make another; null where it can be. @throws PgsyncError where it may not */
  #unusable(slot: SlotState | null): PgsyncError | null {
    try {
      assertUsableSlot(slot, this.#slot, this.database);
      return null;
    } catch (thrown) {
      const error = toPgsyncError(thrown);
      if (!isLoss(error) || !mayResync(this.shared.run)) throw thrown;
      return error;
    }
  }

  #tell(slot: SlotState | null): void {
    const holder = slot === null
      ? null
      : `process ${slot.activePid ?? "?"}${slot.activeApplication ? ` (${slot.activeApplication})` : ""}`;
    this.shared.board.standBy({ problem: null, holder });
    if (holder === null || holder === this.#told) return;
    this.#told = holder;
    logger.info("standing by: slot {slot} of database {database} is held by {holder}", {
      slot: this.#slot,
      database: this.database,
      holder,
    });
  }
}
