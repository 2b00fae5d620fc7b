import { checkServer } from "../../catalog/checks.ts";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import type { ErrorCode } from "../../errors/codes.ts";
import { PgsyncError } from "../../errors/error.ts";
import { reached } from "../../fault_points.ts";
import { errorContext, type Sql } from "../../postgres/connect.ts";
import { postgresError } from "../../postgres/errors.ts";
import { inspectSlot, isHeldBy } from "../../replication/slot.ts";
import {
  ABANDONED_AFTER_MS,
  dropSlot,
  refuseFollowed,
  USELESS_AFTER_MS,
} from "../../replication/slot_drop.ts";
import { orAborted } from "../../retry/abort.ts";
import type { SearchClient } from "../../search/client.ts";
import { describeIndex } from "../../search/index.ts";
import { type DatabaseState, identityOf, readDatabase } from "../database_state.ts";
import { checkIndices, makeMissing, type Report } from "./make_missing.ts";
import type { RunOptions } from "../options.ts";
import { setupProblems } from "./setup_problems.ts";
import {
  findLoss,
  type Loss,
  mayMend,
  mayResync,
  recordDivergence,
  recordMending,
} from "../slot/slot_loss.ts";
import type { SlotClaim } from "../slot/slot_claim.ts";
import { checkBelonging, followOn, recordPromotion, warnOfNewFile } from "../slot/slot_position.ts";

/** Somebody may take a replica identity away again while it is set; a run would halt at the first row without its old values. */
const BOOTSTRAP_ATTEMPTS = 5;

/** Losses that are problems of a start, too, among which others may come first. */
const SETUP_LOSSES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "SLOT_MISSING",
  "SLOT_LOST",
  "PUBLICATION_MISSING",
]);

/** What a preparation works with. */
export interface PreparationOptions {
  readonly run: RunOptions;
  /** It may be waited for for long. */
  readonly search: Promise<SearchClient>;
  /** Where other processes may stand by for the slot; null: nobody is expected to. */
  readonly hold?: SlotClaim | null;
  readonly report: Report;
  /** Told that a slot is about to be given up; from here on the file tells of the loss, until it is mended. @param sentence for people */
  readonly onLoss: (loss: PgsyncError, sentence: string) => void;
}

/** A run that goes on: it was ended, by an error or because the tables have changed. */
export interface GoingOn {
  /** What it was ended by, where only that tells of the loss (`isCarried`). */
  readonly carried: PgsyncError | null;
  /** The process ids of its walsenders: one may hold the slot for a while after its connection is gone. */
  readonly walsenders: ReadonlySet<number>;
}

/**
 * Judges whether a database can be followed, and makes what is missing, where that may be done. In this order, so that nothing is given up in
 * vain, and whoever is interrupted finds the same again: whose server it is → what is lost → may that be mended → can all be made →
 * are the indices ours → the loss is noted → the slot dropped → indices marked as not loaded → what the server has lost removed → the
 * file emptied → the slot made and its position stored.
 */
export class Preparation {
  constructor(private readonly options: PreparationOptions) {}

  /**
   * Judges only, by PostgreSQL and the file.
   *
   * @param going null: a start
   * @returns what is lost and is to be mended; null where nothing is
   * @throws PgsyncError what keeps the run from being followed: a loss that may not be mended, among others
   */
  async judge(
    admin: Sql,
    found: DatabaseState,
    checkpoint: Checkpoint,
    signal: AbortSignal,
    going: GoingOn | null = null,
  ): Promise<Loss | null> {
    const { run } = this.options;
    const goesOn = going !== null;
    const { server } = found.mapping.catalog;
    // What holds whatever is made; a standby shows no slot, for one.
    refuse(checkServer(server, { slot: false, publication: false, walSenders: 0 }));
    checkBelonging(identityOf(found), checkpoint, run.bootstrap && !goesOn && found.slot === null);
    let loss = await this.#loss(admin, found, checkpoint, signal, going);
    // Whoever holds the slot knows that nobody else follows it any more.
    if (loss?.error.code === "CHECKPOINT_BEHIND" && found.slot !== null && this.#isHeld) {
      followOn(found.slot, checkpoint);
      loss = null;
    }
    if (loss === null) {
      refuse(setupProblems(found, run.bootstrap, goesOn));
      return null;
    }
    const { error } = loss;
    recordDivergence(loss, checkpoint);
    // Whoever meets that while it goes on was replaced by another run.
    const isReplaced = goesOn && error.code === "CHECKPOINT_BEHIND";
    if (isReplaced || !mayMend(loss, run)) {
      if (SETUP_LOSSES.has(error.code)) refuse(setupProblems(found, run.bootstrap, goesOn));
      throw error;
    }
    refuse(setupProblems(found, true, goesOn).filter(({ code }) => !SETUP_LOSSES.has(code)));
    return loss;
  }

  get #isHeld(): boolean {
    return this.options.hold?.isHeld === true;
  }

  async #loss(
    admin: Sql,
    found: DatabaseState,
    checkpoint: Checkpoint,
    signal: AbortSignal,
    going: GoingOn | null,
  ): Promise<Loss | null> {
    const { run } = this.options;
    // A slot that was never made is no loss, nor is one whose position was never stored: whoever made it was interrupted.
    const isFirst = found.slot === null && checkpoint.position() === null && checkpoint.loss() === null;
    if (run.bootstrap && isFirst) return null;
    const shown = await orAborted(findLoss(admin, run.postgres, found, checkpoint), signal);
    if (shown !== null || going === null || going.carried === null) return shown;
    return { error: going.carried, byName: false };
  }

  /**
   * Makes what is missing, where it may, and what was lost anew.
   *
   * @param loss as `judge` found it, in what it was given
   * @throws PgsyncError; the loss where somebody else follows the slot
   */
  async carryOut(
    admin: Sql,
    found: DatabaseState,
    loss: Loss | null,
    checkpoint: Checkpoint,
    signal: AbortSignal,
    going: GoingOn | null = null,
  ): Promise<DatabaseState> {
    const isLost = loss ?? await this.#forgotten(found, signal);
    if (isLost !== null) {
      await this.#refuseOtherMaker(admin, found, signal);
      const search = await orAborted(this.options.search, signal);
      await orAborted(checkIndices(found, checkpoint, search), signal);
      await orAborted(this.#giveUp(admin, found, isLost.error, checkpoint, going), signal);
      return await this.#makeMissing(admin, { ...found, slot: null }, checkpoint, signal);
    }
    if (found.slot !== null) {
      warnOfNewFile(found.slot, checkpoint);
      recordPromotion(found, checkpoint);
    }
    return this.options.run.bootstrap ? await this.#makeMissing(admin, found, checkpoint, signal) : found;
  }

  /**
   * What the indices tell of a slot that neither the server nor the file knows: that documents were loaded.
   *
   * @returns null where none were
   * @throws PgsyncError SLOT_MISSING where that may not be mended
   */
  async #forgotten(found: DatabaseState, signal: AbortSignal): Promise<Loss | null> {
    if (found.slot !== null) return null;
    const search = await orAborted(this.options.search, signal);
    for (const { schema: { index } } of found.mapping.documents) {
      const existing = await describeIndex(search, index, signal);
      if (existing?.meta?.loaded !== true) continue;
      const error = new PgsyncError(
        "SLOT_MISSING",
        `The documents of index "${index}" were loaded, but the replication slot "${found.slotName}" that they were followed by ` +
          "does not exist, and the checkpoint file knows nothing of it: what was changed since is unknown.",
      );
      const loss = { error, byName: false };
      if (!mayMend(loss, this.options.run)) throw error;
      return loss;
    }
    return null;
  }

  /** Drops the slot, and says so. A slot that somebody else follows would be lost to him. */
  async #giveUp(
    admin: Sql,
    { slotName, slot }: DatabaseState,
    loss: PgsyncError,
    checkpoint: Checkpoint,
    going: GoingOn | null,
  ): Promise<void> {
    try {
      const isOurs = this.#isHeld;
      await this.options.hold?.release();
      // Another process may have made it, or come back to it in a moment. Nobody follows one that is lost.
      if (going === null && slot !== null && !isOurs && loss.code !== "SLOT_LOST") {
        // Behind the slot is who has not followed it last: another has, who may be cut off, and could go on with it.
        const isOfUse = loss.code === "CHECKPOINT_BEHIND";
        await refuseFollowed(admin, slotName, isOfUse ? ABANDONED_AFTER_MS : USELESS_AFTER_MS);
      }
      const sentence =
        `The slot "${slotName}" is given up, and the documents are loaded anew (${loss.code}): ${loss.message}`;
      recordMending(loss, checkpoint);
      reached("loss-noted");
      this.options.onLoss(loss, sentence);
      // Where we have just let go of it, the server may take a moment to see that.
      await (isOurs ? dropSlot(admin, slotName) : dropSlot(admin, slotName, 0));
      reached("slot-dropped");
    } catch (thrown) {
      const error = postgresError(thrown, errorContext(admin, `drop the replication slot "${slotName}"`));
      if (error.code !== "SLOT_ACTIVE") throw error;
      // Our own walsender of before, which the server has not missed yet: it is waited for.
      if (going !== null && await isHeldBy(admin, slotName, going.walsenders)) throw error;
      throw new PgsyncError(loss.code, `${loss.message} The slot is not given up: ${error.message}`, {
        remedy: error.remedy,
        cause: error,
      });
    }
  }

  async #makeMissing(
    admin: Sql,
    state: DatabaseState,
    checkpoint: Checkpoint,
    signal: AbortSignal,
  ): Promise<DatabaseState> {
    const { report } = this.options;
    const search = await orAborted(this.options.search, signal);
    if (state.slot === null) await this.#refuseOtherMaker(admin, state, signal);
    const { database, slotName } = state;
    const documents = state.mapping.documents.map(({ schema }) => schema);
    let made = state;
    for (let attempt = 0; attempt < BOOTSTRAP_ATTEMPTS; attempt++) {
      // A slot waits for older transactions; a run that is to end does not wait with it.
      await orAborted(makeMissing(admin, made, checkpoint, search, report, signal), signal);
      made = await orAborted(readDatabase(admin, database, documents, slotName), signal);
      if (!made.mapping.identities.some((need) => need.lacksItself)) break;
    }
    return made;
  }

  /** Of processes that stand by, one at a time makes the slot. @throws PgsyncError SLOT_ACTIVE where another one does */
  async #refuseOtherMaker(admin: Sql, found: DatabaseState, signal: AbortSignal): Promise<void> {
    const hold = this.options.hold ?? null;
    if (hold === null || hold.isMaking) return;
    if (await hold.makesAlone(signal)) {
      // It may have been made since it was looked for.
      const slot = await orAborted(inspectSlot(admin, found.slotName), signal);
      if (slot?.confirmedFlushLsn === found.slot?.confirmedFlushLsn) return;
    }
    throw new PgsyncError("SLOT_ACTIVE", `Another process makes the replication slot "${found.slotName}".`);
  }
}

/** @throws PgsyncError what keeps a run from being started, unless it is a loss, and the run may mend that */
export function refuseSetup(state: DatabaseState, run: RunOptions): void {
  if (!mayResync(run)) refuse(setupProblems(state, run.bootstrap));
  else refuse(setupProblems(state, true).filter(({ code }) => !SETUP_LOSSES.has(code)));
}

/** @throws PgsyncError the first of the problems */
export function refuse([problem]: readonly PgsyncError[]): void {
  if (problem !== undefined) throw problem;
}
