import { getLogger } from "@logtape/logtape";
import { PgsyncError, toPgsyncError } from "../../errors/error.ts";
import { patiently } from "../../retry/patience.ts";
import type { DocumentSchema } from "../../schema/tree.ts";
import { slotName } from "../database_mapping.ts";
import { type DatabaseControl, DatabaseRun, type SharedOptions } from "../database_run.ts";
import type { DatabaseState } from "../database_state.ts";
import { FREE_FOR_MS } from "../slot/free_slot.ts";
import { checkIndices } from "../setup/make_missing.ts";
import { checkpointPath } from "../setup/checkpoint_path.ts";
import { refuseUnwritable } from "../setup/open_checkpoint.ts";
import { SlotClaim } from "../slot/slot_claim.ts";
import { standsByAfter } from "../slot/slot_loss.ts";
import { StandbyWait } from "./standby_wait.ts";

const logger = getLogger(["pgsync", "standby"]);

/** Whoever holds our checkpoint file lives, and gets more time to come back to its slot. */
const FREE_FOR_FILE_HOLDER_MS = 3 * FREE_FOR_MS;

/**
 * A run of one database that follows it only while no other process does (docs/operations.md, "A second process that stands
 * by"). The slot is the lock: PostgreSQL lets one session follow it, and nothing is written before that session is ours. Whoever was
 * replaced stands by again.
 */
export class StandbyRun {
  readonly #slot: string;

  constructor(
    private readonly database: string,
    private readonly documents: readonly DocumentSchema[],
    private readonly shared: SharedOptions,
  ) {
    this.#slot = slotName(shared.run.slot, database);
  }

  /** @throws PgsyncError that another attempt would meet again; the signal's reason where it is aborted while this stands by */
  async run(control: DatabaseControl): Promise<void> {
    const { run, board } = this.shared;
    const { database } = this;
    const slot = this.#slot;
    // What is set up wrongly is better known now than when it is needed.
    refuseUnwritable(checkpointPath(run, slot));
    const state = await new DatabaseRun(database, this.documents, this.shared).check(control.signal);
    const unfit = new AbortController();
    const over = new AbortController();
    const signal = AbortSignal.any([control.signal, unfit.signal]);
    this.#checkSearch(state, AbortSignal.any([signal, over.signal])).catch((error) => unfit.abort(error));
    await using wait = new StandbyWait({ run, board, database, slot });
    try {
      for (let freeForMs = FREE_FOR_MS;;) {
        const reason = await this.#untilReplaced(wait, freeForMs, control, signal);
        if (reason === null) return;
        freeForMs = this.#standAgain(reason);
      }
    } finally {
      over.abort();
    }
  }

  /**
   * Looks, when the search engine answers, whether the indices are ours to be written to.
   *
   * @throws PgsyncError that a start would end by: of the login, INDEX_FOREIGN, INDEX_CHANGED; the signal's reason
   */
  async #checkSearch(state: DatabaseState, signal: AbortSignal): Promise<void> {
    const search = await this.shared.search;
    const onFault = (fault: PgsyncError) => this.shared.board.retry(fault);
    await patiently(() => checkIndices(state, null, search), toPgsyncError, onFault, signal);
  }

  /** Tells why this process stands by again. @returns how long the slot has to be free next time, in milliseconds */
  #standAgain(reason: PgsyncError): number {
    const { board } = this.shared;
    switch (reason.code) {
      case "SLOT_ACTIVE":
      case "CHECKPOINT_BEHIND":
        logger.warn("{reason} This process was replaced, and stands by.", { reason: reason.message });
        return FREE_FOR_MS;
      case "CHECKPOINT_LOCKED":
        // Once a minute: a frozen process may hold it for long.
        board.retry(
          new PgsyncError(reason.code, reason.message, {
            remedy:
              `The slot "${this.#slot}" is free, but nobody can go on without the file: if the process that holds it is frozen, ` +
              "end it (kill -9). This one stands by.",
            cause: reason,
          }),
          "replication",
        );
        return FREE_FOR_FILE_HOLDER_MS;
      default:
        board.retry(reason, "replication");
        return FREE_FOR_MS;
    }
  }

  /** Stands by, then follows the database. @returns null at the end of the run; else why this process has to stand by again */
  async #untilReplaced(
    wait: StandbyWait,
    freeForMs: number,
    control: DatabaseControl,
    standing: AbortSignal,
  ): Promise<PgsyncError | null> {
    const { board, run: { postgres: options } } = this.shared;
    const { database } = this;
    const slot = this.#slot;
    await using hold = new SlotClaim({ options, database, slot, publication: slot });
    await wait.turn(hold, freeForMs, standing);
    board.phase = "starting";
    logger.info("slot {slot} of database {database} is free; this process follows it from now on", {
      slot,
      database,
    });
    try {
      await new DatabaseRun(database, this.documents, this.shared, hold).run(control);
      return null;
    } catch (thrown) {
      const error = toPgsyncError(thrown);
      if (control.signal.aborted || !standsByAfter(error)) throw thrown;
      return error;
    }
  }
}
