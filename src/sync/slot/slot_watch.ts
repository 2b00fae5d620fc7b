import { getLogger } from "@logtape/logtape";
import { z } from "zod";
import type { Sql } from "../../postgres/connect.ts";
import { type Lsn, parseLsn } from "../../replication/lsn.ts";
import { inspectSlot } from "../../replication/slot.ts";
import { delayOrAbort } from "../../retry/backoff.ts";
import type { StatusBoard } from "../../status/status_board.ts";
import { WalBudget } from "./wal_budget.ts";

const logger = getLogger(["pgsync", "sync"]);

/** How often the slot is looked at, for lag and WAL budget. */
const SLOT_LOOK_MS = 5_000;
const ABOUT = "wal";

const positionRow = z.tuple([z.string()]);

/** What the watch of a slot works with. */
export interface SlotWatchOptions {
  /** The admin pool of the database, as it is now. */
  readonly admin: () => Sql;
  readonly slotName: string;
  readonly board: Pick<StatusBoard, "slot" | "stand">;
  /** As `WalBudget`. */
  readonly mostRetainedBytes: number;
}

/**
 * Keeps the board told of a slot, and has it warn while the slot keeps too much, until it is disposed of. It needs nothing of a run but
 * a session: WAL piles up also where a run waits before it has begun, for the search engine, or for its tables to be mapped anew.
 */
export class SlotWatch implements Disposable {
  readonly #over = new AbortController();
  #budget: WalBudget;

  constructor(private readonly options: SlotWatchOptions) {
    this.#budget = this.#newBudget();
    void this.#watch();
  }

  [Symbol.dispose](): void {
    this.#over.abort();
    // Nobody will say any more when it is over.
    this.options.board.stand(ABOUT, null);
  }

  async #watch(): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted) {
      try {
        await this.#look(signal);
      } catch (error) {
        logger.debug("the slot could not be looked at: {error}", { error });
      }
      await delayOrAbort(SLOT_LOOK_MS, signal);
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { admin, slotName, board } = this.options;
    const sql = admin();
    const slot = await inspectSlot(sql, slotName);
    const [row] = await sql`SELECT pg_catalog.pg_current_wal_lsn()::pg_catalog.text`.values();
    if (signal.aborted) return;
    const server = parseLsn(positionRow.parse(row)[0]);
    if (slot === null) {
      board.slot = { server, retainedBytes: 0, safeBytes: null };
      board.stand(ABOUT, null);
      // Another one of that name has nothing to do with it.
      this.#budget = this.#newBudget();
      return;
    }
    const bytesSince = (position: Lsn | null) =>
      position === null ? 0 : Math.max(0, Number(server - position));
    const retainedBytes = bytesSince(slot.restartLsn);
    const safeBytes = slot.safeWalSize === null ? null : Number(slot.safeWalSize);
    board.slot = { server, retainedBytes, safeBytes };
    const warning = this.#budget.look({
      at: performance.now(),
      walStatus: slot.walStatus,
      retainedBytes,
      safeBytes,
      unconfirmedBytes: bytesSince(slot.confirmedFlushLsn),
    });
    board.stand(ABOUT, warning?.message ?? null, warning?.level);
  }

  #newBudget(): WalBudget {
    return new WalBudget(this.options.slotName, this.options.mostRetainedBytes);
  }
}
