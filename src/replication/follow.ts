import { getLogger } from "@logtape/logtape";
import { type PgsyncError, toPgsyncError } from "../errors/error.ts";
import { delayOrAbort } from "../retry/backoff.ts";
import type { HeldSlot } from "./held_slot.ts";
import {
  countDecodingError,
  type DecodingErrors,
  decodingFailure,
  MAY_HURRY,
  reconnectDelay,
} from "./liveness.ts";
import type { Lsn } from "./lsn.ts";
import { ReplicationStream, type StreamSettings } from "./stream.ts";

/** Where a session begins. */
type StreamStart = Pick<StreamSettings, "position" | "startLsn">;

/** What following a slot needs. */
export interface FollowSettings extends Omit<StreamSettings, "position" | "startLsn" | "onConnect"> {
  /** As `StreamSettings`, asked at each connection. */
  readonly startFrom: () => StreamStart;
  /** A session that stands already, to be the first one; null: none. */
  readonly held?: HeldSlot | null;
  /**
   * Called when a session stands, before its first message. Transactions come whole in each session: one that was open in the session before
   * is to be dropped, it comes again.
   */
  readonly onConnect: (confirmed: Lsn | null) => void;
  /** Called when a session has ended or did not come about, and another follows after so many milliseconds. */
  readonly onFault: (fault: PgsyncError, retryInMs: number) => void;
  /** An abort ends the session politely. */
  readonly signal: AbortSignal;
}

/** A session that lasted longer makes the next failure the first one again. */
const STABLE_AFTER_MS = 10_000;

const logger = getLogger(["pgsync", "replication"]);

/** Follows one slot over as many sessions as it takes. */
export interface SlotFollower {
  /** Resolves after an abort; rejects with the `PgsyncError` that no new attempt can mend (or with what `onMessage` threw). */
  readonly done: Promise<void>;
  /** True while a session stands. */
  readonly connected: boolean;
  /** As `ReplicationStream.pause`; it holds beyond a reconnect. */
  pause(): void;
  /** As `ReplicationStream.resume`. */
  resume(): void;
  /**
   * Ends the session and begins another, at `startFrom()`. Resolves when the old one is over, or the follower is; where none
   * stands yet, that is the next one. For what a walsender remembers wrongly.
   */
  renew(): Promise<void>;
  /**
   * Ends the wait before the next session, if there is one: somebody knows that the server answers, and that the slot is free. A wait after a
   * refused login, or an error of decoding, lasts as long as it is meant to.
   */
  hurry(): void;
  /** As `ReplicationStream.confirm`. Without a session it does nothing: the next one begins at `startFrom()`. */
  confirm(lsn: Lsn): void;
}

/**
 * Follows a slot for ever: connects, and connects again after whatever may pass, with a wait by the class of the error (`reconnectDelay`).
 */
export function followSlot(settings: FollowSettings): SlotFollower {
  return new Follower(settings);
}

class Follower implements SlotFollower {
  readonly done: Promise<void>;
  #stream: ReplicationStream | null = null;
  #held: HeldSlot | null;
  #paused: boolean;
  /** Ends the wait before the next session; null where there is none that may be cut short. */
  #hurrying: AbortController | null = null;
  /** A new session is asked for. */
  #renewal: PromiseWithResolvers<void> | null = null;

  constructor(private readonly settings: FollowSettings) {
    this.#paused = settings.startPaused ?? false;
    this.#held = settings.held ?? null;
    this.done = this.#run().finally(async () => {
      this.#renewed();
      await this.#held?.release();
    });
    // Whoever waits gets the error; that nobody waits yet is no reason to bring the process down.
    this.done.catch(() => {});
  }

  get connected(): boolean {
    return this.#stream !== null;
  }

  pause(): void {
    this.#paused = true;
    this.#stream?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#stream?.resume();
  }

  renew(): Promise<void> {
    if (this.settings.signal.aborted) return Promise.resolve();
    this.#renewal ??= Promise.withResolvers<void>();
    void this.#stream?.stop();
    return this.#renewal.promise;
  }

  hurry(): void {
    this.#hurrying?.abort();
  }

  confirm(lsn: Lsn): void {
    this.#stream?.confirm(lsn);
  }

  #renewed(): void {
    this.#renewal?.resolve();
    this.#renewal = null;
  }

  async #run(): Promise<void> {
    const { signal, onFault } = this.settings;
    let failures = 0;
    let connectedBefore = false;
    let decoding: DecodingErrors | null = null;
    while (!signal.aborted) {
      const from = this.settings.startFrom();
      const session = await this.#session(from);
      if (session.fault === null) continue;
      decoding = countDecodingError(decoding, session.fault, from.position, performance.now());
      const hopeless = decodingFailure(decoding, performance.now());
      if (hopeless !== null) throw hopeless;
      connectedBefore ||= session.lastedMs !== null;
      if (session.lastedMs !== null && session.lastedMs > STABLE_AFTER_MS) failures = 0;
      const wait = reconnectDelay(session.fault, failures, connectedBefore);
      if (wait === null) throw session.fault;
      failures += 1;
      onFault(session.fault, wait);
      this.#hurrying = MAY_HURRY.has(session.fault.code) ? new AbortController() : null;
      const hurried = this.#hurrying?.signal ?? signal;
      await delayOrAbort(wait, AbortSignal.any([signal, hurried]));
      this.#hurrying = null;
    }
  }

  /** One session from its start to its end. The fault is null after an abort or a renewal; `lastedMs` is null where no session came about. */
  async #session(
    from: StreamStart,
  ): Promise<{ readonly fault: PgsyncError | null; readonly lastedMs: number | null }> {
    const { signal } = this.settings;
    const starting = this.#start(from);
    let stream: ReplicationStream | null;
    try {
      stream = await unlessAborted(starting, signal);
    } catch (thrown) {
      return { fault: toPgsyncError(thrown), lastedMs: null };
    }
    if (stream === null) {
      // The attempt may still succeed; then nobody wants it.
      starting.then((late) => late.stop(), (error) => logger.debug("{error}", { error }));
      return { fault: null, lastedMs: null };
    }
    const startedAt = performance.now();
    this.#stream = stream;
    // Somebody may have paused or resumed since the start was asked for.
    if (this.#paused) stream.pause();
    else stream.resume();
    const onAbort = () => void stream.stop();
    signal.addEventListener("abort", onAbort, { once: true });
    if (this.#renewal !== null) void stream.stop();
    try {
      await stream.closed;
      return { fault: null, lastedMs: performance.now() - startedAt };
    } catch (thrown) {
      return { fault: toPgsyncError(thrown), lastedMs: performance.now() - startedAt };
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#stream = null;
      this.#renewed();
    }
  }

  async #start(from: StreamStart): Promise<ReplicationStream> {
    const { onConnect, onMessage, onKeepalive = () => {} } = this.settings;
    const held = this.#held;
    this.#held = null;
    if (held !== null) return held.handOver({ onConnect, onMessage, onKeepalive });
    return await ReplicationStream.start({ ...this.settings, ...from, startPaused: this.#paused });
  }
}

/** The promise's value, or null when the signal is aborted before. */
function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value | null> {
  if (signal.aborted) return Promise.resolve(null);
  const { promise: aborted, resolve } = Promise.withResolvers<null>();
  const onAbort = () => resolve(null);
  signal.addEventListener("abort", onAbort, { once: true });
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener("abort", onAbort));
}
