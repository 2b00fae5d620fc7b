import { PgsyncError } from "../errors/error.ts";
import type { Session } from "../postgres/session.ts";
import { isTemporary } from "../retry/patience.ts";
import type { Lsn } from "../replication/lsn.ts";
import { orAborted } from "../retry/abort.ts";
import { delay } from "../retry/backoff.ts";
import { ServerClock } from "./server_clock.ts";
import type { ServerMoment, SourceClock, ToSee } from "./source_clock.ts";
import type { SourceSession } from "./source_session.ts";
import { behind, lookAtStandby, refuseUnfit, type Replica, type StandbyLook } from "./standby_look.ts";

/** How often the standby is asked again: from 1 ms, doubling, to 50 ms. */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;
/** A wait that lasts longer is told of. */
const TOLD_AFTER_MS = 3_000;

/**
 * The clock where documents are read from a hot standby. Its moments are positions of replay, read before the snapshot
 * that builds. What the versions rest on, piece by piece:
 *
 * **A commit is visible once it is replayed.** The redo of a commit record marks the transaction as committed and takes it
 * out of the transactions known to run, and only then does the position of replay move to the record's end. Begin carries
 * the record's start, and the record before it ends there or earlier: so a position *beyond* the start means that every
 * later snapshot on this standby shows the commit. (`pg_current_snapshot()` says nothing of it there: a standby learns
 * only now and then which transactions run, so its xmin and xmax lag.)
 *
 * **A document holds everything before its moment.** The position is read first, the snapshot taken later, on one server
 * whose replay never goes back. So a batch with a commit at c is given a moment beyond c, and whatever is written with that
 * moment or a later one holds the commit. Two documents may have the same moment, and the older build may come last: it
 * lacks only what lies at or beyond the moment, and that has a batch of its own, with a later one. So the three low bits of
 * `VersionClock` are not needed here: on the primary, where a commit becomes visible without writing WAL, they are.
 *
 * **The session that builds is looked at itself.** A standby that was killed replays again from its last restart point, and
 * lets sessions in before it is where it was; and a name may lead to several standbys. So `SourceSession.lease` asks each
 * connection, before each use, whether it has come to the moment; `afterVisible` never gives one that is earlier than
 * another before it.
 *
 * **Documents that were read from the primary before.** They carry its flush position, which may lie beyond the standby's
 * replay, and may lack a commit before it that was not visible yet: against them that commit's batch would lose. So
 * `takeOver` waits until the standby has replayed what the primary holds, the slot's beginning included. (A process that
 * still reads from the primary while this one runs already is not provided for.)
 *
 * **Documents that will be read from the primary later.** A commit that waits for a synchronous standby can be replayed
 * before the primary shows it. Were it confirmed by then, a run that reads from the primary could build its document
 * without it and never learn better. So a batch waits for the primary's snapshot as well. That run's versions begin with
 * the primary's flush position, beyond anything that was replayed.
 *
 * **Versions beyond the server's own** (INDEX_VERSION_AHEAD) are judged by the primary's flush position: a standby is sent
 * only what is flushed.
 *
 * **Timelines.** After a failover the position of a standby that has stayed behind on the old timeline can lie beyond a
 * commit that it will never see. So both must be on the same one; it is that of the versions.
 */
export class StandbyClock implements SourceClock {
  readonly #primary: ServerClock;
  /** Where the primary was when we last waited for all of it. */
  #floor: Lsn = 0n;
  /** The latest moment that was given to a batch. */
  #given: Lsn = 0n;
  /** The wait until what another process may have written can be read; null where it has to be begun. */
  #parting: Promise<void> | null = Promise.resolve();
  /** Why the standby could not be looked at. */
  #silence: string | null = null;
  /** What those wait for who have waited for long. */
  readonly #lags = new Map<symbol, string>();

  constructor(
    private readonly session: SourceSession,
    private readonly replica: Replica,
    /** Told of a lag that lasts, once each time. */
    private readonly onLag: (fault: PgsyncError) => void,
  ) {
    this.#primary = new ServerClock(session);
  }

  /** Why nothing can be read; null as long as all goes well. */
  get problem(): string | null {
    const [lag] = this.#lags.values();
    return this.#silence ?? lag ?? null;
  }

  async takeOver(signal: AbortSignal): Promise<void> {
    this.#parting = null;
    await this.#part(signal);
  }

  /** Whoever had the slot may have built documents from the primary. */
  slotTaken(): void {
    this.#parting = null;
  }

  /** Several may wait for the one that has begun it. */
  async #part(signal: AbortSignal): Promise<void> {
    for (;;) {
      const parting = this.#parting ??= this.catchUp(signal);
      try {
        return await orAborted(parting, signal);
      } catch (thrown) {
        if (this.#parting === parting) this.#parting = null;
        // Else whoever had begun it was to end, and nobody else.
        if (signal.aborted || thrown instanceof PgsyncError) throw thrown;
      }
    }
  }

  async afterVisible(toSee: ToSee, signal: AbortSignal): Promise<ServerMoment> {
    await this.#part(signal);
    const { timeline } = await this.#primary.whenVisible(toSee.transactions, signal);
    if (toSee.present) await this.catchUp(signal);
    // Positions are multiples of 8, so one beyond the commit's start is past that record.
    const least = max(max(toSee.commitLsn + 1n, this.#floor), this.#given);
    const moment = await this.#replayed({ timeline, lsn: least }, signal);
    this.#given = max(this.#given, moment.lsn);
    return moment;
  }

  async now(session: Session, signal: AbortSignal): Promise<ServerMoment> {
    await this.#part(signal);
    const { timeline } = await this.#primary.present();
    const look = await lookAtStandby(session);
    refuseUnfit(look, this.replica);
    const lag = behind(look, { timeline, lsn: this.#floor }, this.replica);
    if (lag !== null) throw lag;
    return { timeline, lsn: look.replayed };
  }

  async catchUp(signal: AbortSignal): Promise<void> {
    const { timeline } = await this.#primary.present();
    // The message lies behind all that is visible, flushed or not, and its commit behind the message.
    const lsn = await this.#primary.writeSomething();
    await this.#replayed({ timeline, lsn: lsn + 1n }, signal);
    this.#floor = max(this.#floor, lsn);
  }

  async position(): Promise<Lsn> {
    return await this.#primary.position();
  }

  async newestVersion(): Promise<bigint> {
    return await this.#primary.newestVersion();
  }

  async writeSomething(): Promise<Lsn> {
    return await this.#primary.writeSomething();
  }

  /**
   * Looks whether the standby answers and is still one, for `problem`: a run that has nothing to build would not notice.
   *
   * @throws PgsyncError REPLICA_UNFIT, POSTGRES_LOGIN
   */
  async check(): Promise<void> {
    await this.#look();
  }

  /** Waits until the standby has come to a moment. @returns the one that it has come to */
  async #replayed(least: ServerMoment, signal: AbortSignal): Promise<ServerMoment> {
    const started = performance.now();
    const waiter = Symbol();
    let { timeline } = least;
    try {
      for (let ms = FIRST_PAUSE_MS;; ms = Math.min(ms * 2, LONGEST_PAUSE_MS)) {
        const look = await this.#look();
        const lag = behind(look, { timeline, lsn: least.lsn }, this.replica);
        if (lag === null) return { timeline, lsn: look.replayed };
        if (performance.now() - started > TOLD_AFTER_MS) {
          if (!this.#lags.has(waiter)) this.onLag(lag);
          this.#lags.set(waiter, lag.message);
        }
        await delay(ms, signal);
        // The primary may have gone over to another one meanwhile.
        if (look.timeline !== timeline) ({ timeline } = await this.#primary.present());
      }
    } finally {
      this.#lags.delete(waiter);
    }
  }

  async #look(): Promise<StandbyLook> {
    try {
      const look = await lookAtStandby(this.session.builders);
      this.#silence = null;
      refuseUnfit(look, this.replica);
      return look;
    } catch (thrown) {
      const error = this.session.error(thrown, "tell how far it is");
      if (isTemporary(error)) this.#silence = error.message;
      throw error;
    }
  }
}

function max(one: Lsn, other: Lsn): Lsn {
  return one > other ? one : other;
}
