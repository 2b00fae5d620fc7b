import { z } from "zod";
import { standbyError } from "../postgres/errors.ts";
import { timelineOf, WAL_END, WAL_FILE, walFile } from "../postgres/server_identity.ts";
import type { Session } from "../postgres/session.ts";
import { type Lsn, parseLsn } from "../replication/lsn.ts";
import { delay } from "../retry/backoff.ts";
import type { ServerMoment, SourceClock, ToSee } from "./source_clock.ts";
import type { SourceSession } from "./source_session.ts";
import { newestVersionAt, VersionClock } from "./version_clock.ts";
import { type Look, parseSnapshot, waitUntilVisible } from "./visibility.ts";

/**
 * The position is read after the snapshot was taken. It is that of the WAL on disk, not the insert position, which a crash
 * of the server would set back: versions made of it would then lie beyond the server's own, for as long as it takes to
 * write that much WAL again. All that the stream carries is on disk, so a batch's commits lie before the position.
 */
const LOOK = `SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text, ${WAL_END}, ${WAL_FILE}`;

/** The longest wait for the position to move. */
const LONGEST_PAUSE_MS = 50;

/** On a standby there is no position of its own. */
const lookRow = z.tuple([z.string(), z.string().nullable(), walFile.nullable()]);
const lsnRow = z.tuple([z.string()]);

/**
 * Reads the primary's snapshot and WAL position, and makes of them the moments that documents are built for. All is asked
 * of the primary, whatever the documents are read from.
 */
export class ServerClock implements SourceClock {
  readonly #versions = new VersionClock();
  #timeline = 1;
  /** The message that parts our moments from those of a process that had the slot before; null where it has to be written. */
  #parting: Promise<unknown> | null = Promise.resolve();

  constructor(private readonly session: SourceSession) {}

  /** Versions of a process that held the slot before must not tie with ours. */
  async takeOver(): Promise<void> {
    this.#parting = null;
    await this.#part();
  }

  async #part(): Promise<void> {
    const parting = this.#parting ??= this.writeSomething();
    try {
      await parting;
    } catch (thrown) {
      if (this.#parting === parting) this.#parting = null;
      throw thrown;
    }
  }

  slotTaken(): void {
    this.#parting = null;
  }

  /** Each moment is later than any returned before. */
  async afterVisible(toSee: ToSee, signal: AbortSignal): Promise<ServerMoment> {
    await this.#part();
    for (let attempt = 0;; attempt++) {
      const { timeline, lsn } = await this.whenVisible(toSee.transactions, signal);
      const next = this.#versions.next(lsn);
      if (next !== null) return { timeline, lsn: next };
      // Eight batches at one position: nobody wrote any WAL meanwhile, so some must be written.
      await this.writeSomething();
      if (attempt > 0) await delay(Math.min(attempt, LONGEST_PAUSE_MS), signal);
    }
  }

  /**
   * Waits until all the transactions are visible to new snapshots of the primary.
   *
   * @param transactions 32-bit ids of committed transactions
   * @returns the position that was read after the snapshot that showed them all
   * @throws PgsyncError of PostgreSQL; the signal's reason
   */
  async whenVisible(transactions: Iterable<number>, signal: AbortSignal): Promise<ServerMoment> {
    const lsn = await waitUntilVisible(transactions, () => this.#look(), (ms) => delay(ms, signal));
    return { timeline: this.#timeline, lsn };
  }

  async now(session: Session): Promise<ServerMoment> {
    const { lsn } = await this.#lookBy(session);
    return { timeline: this.#timeline, lsn };
  }

  /** What the primary shows is what is read. */
  catchUp(): Promise<void> {
    return Promise.resolve();
  }

  async position(): Promise<Lsn> {
    return (await this.present()).lsn;
  }

  /** Timeline and position. @throws PgsyncError of PostgreSQL */
  async present(): Promise<ServerMoment> {
    const { lsn } = await this.#look();
    return { timeline: this.#timeline, lsn };
  }

  async newestVersion(): Promise<bigint> {
    return newestVersionAt(await this.present());
  }

  /** It is transactional, for only a commit flushes WAL at once, and only flushed WAL is streamed. */
  async writeSomething(): Promise<Lsn> {
    return await this.#asked("write a logical message", async () => {
      const [row] = await this.session.primary.unsafe(
        "SELECT pg_catalog.pg_logical_emit_message(true, 'pgsync', '')::pg_catalog.text",
      ).values();
      return parseLsn(lsnRow.parse(row)[0]);
    });
  }

  async #look(): Promise<Look> {
    return await this.#asked("tell its WAL position", () => this.#lookBy(this.session.primary));
  }

  async #lookBy(session: Session): Promise<Look> {
    const [row] = await session.unsafe(LOOK, [], { prepare: true }).values();
    const [snapshot, lsn, file] = lookRow.parse(row);
    if (lsn === null || file === null) throw standbyError(this.session.options);
    this.#timeline = timelineOf(file);
    return { snapshot: parseSnapshot(snapshot), lsn: parseLsn(lsn) };
  }

  /** Its errors name the primary, also where the documents are read from another server. */
  async #asked<T>(doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      throw this.session.errorOfPrimary(thrown, doing);
    }
  }
}
