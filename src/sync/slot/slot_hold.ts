import { getLogger } from "@logtape/logtape";
import type { PositionKeeper } from "../../changes/position_keeper.ts";
import type { StreamConsumer } from "../../changes/stream_consumer.ts";
import { PgsyncError } from "../../errors/error.ts";
import { followSlot, type SlotFollower } from "../../replication/follow.ts";
import type { HeldSlot } from "../../replication/held_slot.ts";
import { formatLsn, type Lsn } from "../../replication/lsn.ts";
import { orAborted } from "../../retry/abort.ts";
import type { StatusBoard } from "../../status/status_board.ts";
import type { DatabaseState } from "../database_state.ts";
import type { RunOptions } from "../options.ts";

const logger = getLogger(["pgsync", "sync"]);

/** What a slot is held with. */
export interface SlotHoldOptions {
  readonly run: RunOptions;
  readonly state: DatabaseState;
  readonly board: StatusBoard;
  readonly keeper: PositionKeeper;
  /** A session that holds the slot already, to be followed; null: none. */
  readonly held: HeldSlot | null;
  /** Gets the process ids of all sessions that the slot is asked for with. */
  readonly walsenders: Set<number>;
  /** Called whenever a session of the stream stands: another process may have had the slot until then. */
  readonly onTaken: () => void;
  /** An abort lets go of it. */
  readonly signal: AbortSignal;
}

/**
 * The hold of a run on its slot, which is what keeps two processes from doing the same work. It is begun before all else, and waits for as long as
 * another process follows the slot. Nothing is delivered before somebody takes it (`deliver`).
 */
export class SlotHold {
  readonly #follower: SlotFollower;
  readonly #taken = Promise.withResolvers<void>();
  #consumer: StreamConsumer | null = null;
  /** How far the slot was confirmed when the session began. */
  #confirmed: Lsn | null = null;

  constructor(private readonly options: SlotHoldOptions) {
    const { run, state, board, keeper, held, walsenders, onTaken, signal } = options;
    const { systemIdentifier, timeline } = state.mapping.catalog.server;
    this.#follower = followSlot({
      options: run.postgres,
      database: state.database,
      slot: state.slotName,
      publication: state.slotName,
      server: { systemIdentifier, timeline },
      startFrom: () => ({ position: keeper.stored, startLsn: keeper.lastCommit?.lsn ?? 0n }),
      held,
      onAsk: (walsender) => walsenders.add(walsender),
      onConnect: (confirmed) => {
        onTaken();
        this.#confirmed = confirmed;
        this.#consumer?.onConnect(confirmed);
        this.#taken.resolve();
      },
      startPaused: true,
      onMessage: (message, place) => this.#receiver.onMessage(message, place),
      onKeepalive: (walEnd) => this.#receiver.onKeepalive(walEnd),
      onFault: (fault) => board.retry(fault, "replication"),
      signal,
    });
    board.stream = () => {
      const { received = 0n, lastCommitAt = null } = this.#consumer ?? {};
      return {
        connected: this.#follower.connected,
        confirmed: keeper.stored,
        received,
        lastCommitAt: lastCommitAt === null ? null : new Date(lastCommitAt),
      };
    };
  }

  get #receiver(): StreamConsumer {
    if (this.#consumer !== null) return this.#consumer;
    throw new PgsyncError("INTERNAL", "The stream carries something, and nobody takes it yet.");
  }

  /** As `SlotFollower.connected`. */
  get connected(): boolean {
    return this.#follower.connected;
  }

  /** As `SlotFollower.done`. */
  get done(): Promise<void> {
    return this.#follower.done;
  }

  /** Waits until the slot has been ours once. @throws the signal's reason */
  async taken(signal: AbortSignal): Promise<void> {
    await orAborted(this.#taken.promise, signal);
    const { state, keeper } = this.options;
    logger.info("following slot {slot} of database {database} from {position}", {
      slot: state.slotName,
      database: state.database,
      position: keeper.stored === 0n ? "the slot's own position" : formatLsn(keeper.stored),
    });
  }

  /** What the stream carries goes to `consumer` from now on. */
  deliver(consumer: StreamConsumer): void {
    this.#consumer = consumer;
    consumer.onConnect(this.#confirmed);
    this.#follower.resume();
  }

  /** Holds the stream back, or lets it go on. */
  holdBack(paused: boolean): void {
    if (paused) this.#follower.pause();
    else this.#follower.resume();
  }

  /** As `SlotFollower.confirm`. */
  confirm(...position: Parameters<SlotFollower["confirm"]>): void {
    this.#follower.confirm(...position);
  }

  /** As `SlotFollower.hurry`. */
  hurry(): void {
    this.#follower.hurry();
  }

  /** As `SlotFollower.renew`. */
  renew(): Promise<void> {
    return this.#follower.renew();
  }
}
