import { getLogger } from "@logtape/logtape";
import type { ServerIdentity } from "../postgres/server_identity.ts";
import { orAborted } from "../retry/abort.ts";
import { ReplicationStream, type StreamSettings } from "./stream.ts";

const logger = getLogger(["pgsync", "replication"]);

/** What a slot is held with. */
export type HeldSlotSettings = Omit<
  StreamSettings,
  "startPaused" | "onConnect" | "onMessage" | "onKeepalive"
>;

/** Who takes what a held session delivers. */
export type StreamHandlers = Required<Pick<StreamSettings, "onConnect" | "onMessage" | "onKeepalive">>;

/** Nobody until the session is handed over. */
interface Taker {
  handlers: StreamHandlers | null;
}

/**
 * A session of the stream that holds its slot and delivers nothing yet. PostgreSQL lets one session follow a slot, so whoever has this
 * is the only one: nothing has to be believed of other processes. The server is told nothing but that we live.
 */
export class HeldSlot {
  #isOver = false;

  private constructor(
    private readonly stream: ReplicationStream,
    private readonly taker: Taker,
    onLost: () => void,
  ) {
    stream.closed.then(() => this.#isOver = true, (error: unknown) => {
      this.#isOver = true;
      if (taker.handlers !== null) return;
      logger.debug("the session that held the slot has ended: {error}", { error });
      onLost();
    });
  }

  /**
   * Begins a session.
   *
   * @param onLost called when the session ends before it was handed over or released
   * @throws PgsyncError as `ReplicationStream.start`: SLOT_ACTIVE where somebody else holds the slot; the signal's reason
   */
  static async take(settings: HeldSlotSettings, onLost: () => void, signal: AbortSignal): Promise<HeldSlot> {
    const taker: Taker = { handlers: null };
    const starting = ReplicationStream.start({
      ...settings,
      // So nothing comes before there is somebody to take it.
      startPaused: true,
      onMessage: (message, place) => taker.handlers?.onMessage(message, place),
      onKeepalive: (walEnd) => taker.handlers?.onKeepalive(walEnd),
    });
    try {
      return new HeldSlot(await orAborted(starting, signal), taker, onLost);
    } catch (thrown) {
      // The attempt may still succeed; then nobody wants it.
      starting.then((late) => late.stop(), (error) => logger.debug("{error}", { error }));
      throw thrown;
    }
  }

  /** False once the session has ended or was handed over. */
  get isHeld(): boolean {
    return !this.#isOver && this.taker.handlers === null;
  }

  /** Whose slot it is. */
  get server(): ServerIdentity {
    const { systemIdentifier, place } = this.stream.server;
    return { systemIdentifier, timeline: place?.timeline ?? 0 };
  }

  /** Hands the session over, paused; it is the caller's from now on. */
  handOver(handlers: StreamHandlers): ReplicationStream {
    this.taker.handlers = handlers;
    handlers.onConnect(this.stream.confirmedAtStart);
    return this.stream;
  }

  /** Lets go of the slot, unless the session was handed over. */
  async release(): Promise<void> {
    if (this.taker.handlers === null) await this.stream.stop();
  }
}
