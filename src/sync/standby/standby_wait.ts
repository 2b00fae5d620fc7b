import { getLogger } from "@logtape/logtape";
import { type PgsyncError, toPgsyncError } from "../../errors/error.ts";
import { connectPostgres, errorContext, type Sql } from "../../postgres/connect.ts";
import { postgresError, sqlStateOf } from "../../postgres/errors.ts";
import { watchLink } from "../../postgres/link_watch.ts";
import { onlyPrimary } from "../../postgres/server_identity.ts";
import { assertUsableSlot, inspectSlot, type SlotState } from "../../replication/slot.ts";
import { inspectMaker, type SlotMaker } from "../../replication/slot_maker.ts";
import { orAborted } from "../../retry/abort.ts";
import { backoffDelay, delay } from "../../retry/backoff.ts";
import type { StatusBoard } from "../../status/status_board.ts";
import { FreeSlotWatch } from "../slot/free_slot.ts";
import type { RunOptions } from "../options.ts";
import type { SlotClaim } from "../slot/slot_claim.ts";
import { isLoss, mayResync } from "../slot/slot_loss.ts";

const logger = getLogger(["pgsync", "standby"]);

/** How often the slot is looked at while another process holds it. */
const LOOK_EVERY_MS = 250;
/** Between looks that fail it is waited for longer: a server that is full, or starts, has enough to do. But whoever is to take over within 10 s looks soon. */
const FAILING_LOOKS = { baseMs: 500, capMs: 1_750 };
/** A role that may not log in any more is tried more seldom, lest it be locked out. */
const LOOK_AFTER_LOGIN_MS = 30_000;

/** Whoever follows the slot may have given it up to make another; a loss that lasts longer is one. */
const LOST_FOR_MS = 10_000;

/** For how long the slot has been free, and such that it cannot be followed, and that this run may not make another. */
type Watches = Readonly<Record<"free" | "lost", FreeSlotWatch>>;

/** What is waited for, and who is told meanwhile. */
export interface StandbyWaitOptions {
  readonly run: RunOptions;
  readonly board: StatusBoard;
  readonly database: string;
  readonly slot: string;
}

/** The wait of a process that stands by for its turn: until nobody follows the slot, and nobody makes it. */
export class StandbyWait implements AsyncDisposable {
  readonly #sql: Sql;
  /** What was last logged of the slot. */
  #told: string | null = null;

  constructor(private readonly options: StandbyWaitOptions) {
    const { run: { postgres }, database } = options;
    this.#sql = connectPostgres(postgres, {
      ...{ database, purpose: "standby", max: 1, kind: "admin" },
      // A standby of the server shows no slot, or a copy that nobody can follow: neither says anything of the slot.
      admit: onlyPrimary(postgres),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sql.end({ timeout: 0 });
  }

  /**
   * Waits until the slot is held, or is ours to be made.
   *
   * @param hold gets it
   * @param freeForMs how long the slot has to be seen free, in milliseconds
   * @throws PgsyncError that another attempt would meet again: a loss that this run may not mend, among others; the signal's reason
   */
  async turn(hold: SlotClaim, freeForMs: number, signal: AbortSignal): Promise<void> {
    const { board, database, run: { postgres: options } } = this.options;
    const watch = { free: new FreeSlotWatch(freeForMs), lost: new FreeSlotWatch(LOST_FOR_MS) };
    this.#told = null;
    const over = new AbortController();
    const onFault = (fault: PgsyncError) => {
      for (const each of [watch.free, watch.lost]) each.look(null, performance.now());
      board.retry(fault);
      board.standBy({ problem: fault.message });
    };
    void watchLink({ options, database, onSilence: onFault }, AbortSignal.any([signal, over.signal]));
    board.standBy({ problem: null });
    try {
      for (let failures = 0;;) {
        let wait = LOOK_EVERY_MS;
        try {
          if (await this.#takes(hold, watch, signal)) return;
          failures = 0;
        } catch (thrown) {
          signal.throwIfAborted();
          const error = toPgsyncError(thrown);
          if (!isPassing(error)) throw error;
          // Another standby was faster.
          if (error.code !== "SLOT_ACTIVE") onFault(error);
          wait = isRefused(error)
            ? LOOK_AFTER_LOGIN_MS
            : LOOK_EVERY_MS + backoffDelay(failures++, FAILING_LOOKS);
        }
        await delay(wait, signal);
      }
    } finally {
      over.abort();
    }
  }

  /** Looks once, and takes the slot where it is time. @returns whether it is ours to follow, or to make */
  async #takes(hold: SlotClaim, watch: Watches, signal: AbortSignal): Promise<boolean> {
    const now = performance.now();
    const slot = await orAborted(this.#look(), signal);
    const unusable = this.#unusable(slot);
    const isFree = unusable !== null || slot?.active !== true;
    const isTime = watch.free.look(isFree, now);
    // While a slot is being made, it is active, and not confirmed. The lock is looked at over this session: each attempt to take it is a login.
    const isBegun = slot !== null && slot.confirmedFlushLsn === null;
    const maker = isFree || isBegun ? await orAborted(this.#maker(), signal) : null;
    const isLost = unusable !== null && !this.#mayMake(slot) && maker === null;
    if (watch.lost.look(isLost, now) && unusable !== null) throw unusable;
    this.#tell(isFree ? null : slot, unusable !== null || isBegun ? maker : null, isLost ? unusable : null);
    if (!isTime || isLost || maker !== null) return false;
    // Also where there is a slot: whoever has just made it loads nothing before it holds it.
    if (!await hold.makesAlone(signal)) return false;
    try {
      const last = await orAborted(this.#look(), signal);
      const isMissing = this.#unusable(last) !== null;
      if (!isMissing) await hold.hold(0n, null, signal);
      if (!isMissing || this.#mayMake(last)) return true;
      await hold[Symbol.asyncDispose]();
      return false;
    } catch (thrown) {
      await hold[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  async #look(): Promise<SlotState | null> {
    try {
      return await inspectSlot(this.#sql, this.options.slot);
    } catch (thrown) {
      throw postgresError(thrown, errorContext(this.#sql, "look at its replication slots"));
    }
  }

  async #maker(): Promise<SlotMaker | null> {
    try {
      return await inspectMaker(this.#sql, this.options.slot);
    } catch (thrown) {
      throw postgresError(thrown, errorContext(this.#sql, "look at its locks"));
    }
  }

  /** Why the slot cannot be followed; null where it can be. @throws PgsyncError SLOT_MISMATCH */
  #unusable(slot: SlotState | null): PgsyncError | null {
    try {
      assertUsableSlot(slot, this.options.slot, this.options.database);
      return null;
    } catch (thrown) {
      const error = toPgsyncError(thrown);
      if (!isLoss(error)) throw thrown;
      return error;
    }
  }

  /** Whether a slot that cannot be followed is a matter of the start: what is lost is judged by the file, too, and the slot may be the first one. */
  #mayMake(slot: SlotState | null): boolean {
    const { run } = this.options;
    return mayResync(run) || run.bootstrap && slot === null;
  }

  #tell(slot: SlotState | null, maker: SlotMaker | null, lost: PgsyncError | null): void {
    const { board, database, slot: name } = this.options;
    if (lost !== null) board.retry(lost);
    const doing = maker !== null
      ? `is being made by ${processText(maker.pid, maker.application)}`
      : slot !== null
      ? `is held by ${processText(slot.activePid, slot.activeApplication)}`
      : null;
    board.standBy({ problem: lost?.message ?? null, slot: doing });
    if (doing === null || doing === this.#told) return;
    this.#told = doing;
    logger.info("standing by: slot {slot} of database {database} {doing}", { slot: name, database, doing });
  }
}

function processText(pid: number | null, application: string | null): string {
  return `process ${pid ?? "?"}${application ? ` (${application})` : ""}`;
}

/** Whoever stands by has logged in before: what is wrong with the login now may be mended while it waits. */
function isPassing(error: PgsyncError): boolean {
  return error.code === "POSTGRES_LOGIN" || error.next === "retry";
}

/** A database that was renamed locks nobody out. */
function isRefused(error: PgsyncError): boolean {
  return error.code === "POSTGRES_LOGIN" && sqlStateOf(error.cause) !== UNKNOWN_DATABASE;
}

const UNKNOWN_DATABASE = "3D000";
