import { z } from "zod";
import { type Lsn, parseLsn } from "../replication/lsn.ts";
import { delay } from "../retry/backoff.ts";
import { documentVersion } from "../search/version.ts";
import type { SourceSession } from "./source_session.ts";
import { VersionClock } from "./version_clock.ts";
import { type Look, parseSnapshot, waitUntilVisible } from "./visibility.ts";

/** A place in the server's history: what documents' versions are made of. */
export interface ServerMoment {
  readonly timeline: number;
  readonly lsn: Lsn;
}

/**
 * The position is read after the snapshot was taken. It is that of the WAL on disk, not the insert position, which a crash
 * of the server would set back: versions made of it would then lie beyond the server's own, for as long as it takes to
 * write that much WAL again. All that the stream carries is on disk, so a batch's commits lie before the position.
 * The name of a WAL file begins with the timeline in hexadecimal
 * (https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-BACKUP).
 */
const LOOK = `
SELECT
  pg_catalog.pg_current_snapshot()::pg_catalog.text,
  pg_catalog.pg_current_wal_flush_lsn()::pg_catalog.text,
  pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_flush_lsn()), 1, 8)`;

/** The longest wait for the position to move. */
const LONGEST_PAUSE_MS = 50;

const lookRow = z.tuple([z.string(), z.string(), z.string().regex(/^[0-9A-Fa-f]{8}$/)]);

/** Reads the server's snapshot and WAL position, and makes of them the moments that documents are built for. */
export class ServerClock {
  readonly #versions = new VersionClock();
  #timeline = 1;

  constructor(private readonly session: SourceSession) {}

  /**
   * Waits until all the transactions are visible to new snapshots.
   *
   * @param transactions 32-bit ids of committed transactions
   * @param signal ends the wait
   * @returns the moment for the versions of what is built after this call; it is later than any returned before
   * @throws postgres.js' errors; the signal's reason
   */
  async afterVisible(transactions: Iterable<number>, signal: AbortSignal): Promise<ServerMoment> {
    const ids = [...transactions];
    const pause = (ms: number) => delay(ms, signal);
    for (let attempt = 0;; attempt++) {
      const lsn = this.#versions.next(await waitUntilVisible(ids, () => this.#look(), pause));
      if (lsn !== null) return { timeline: this.#timeline, lsn };
      // Eight batches at one position: nobody wrote any WAL meanwhile, so some must be written.
      await this.writeSomething();
      if (attempt > 0) await pause(Math.min(attempt, LONGEST_PAUSE_MS));
    }
  }

  /** The present moment. @throws postgres.js' errors */
  async now(): Promise<ServerMoment> {
    const { lsn } = await this.#look();
    return { timeline: this.#timeline, lsn };
  }

  /** The greatest version that a document can have by now. @throws PgsyncError of PostgreSQL */
  async newestVersion(): Promise<bigint> {
    try {
      const { timeline, lsn } = await this.now();
      // The clock itself may have given up to seven more than the position.
      return documentVersion({ timeline, lsn: lsn + 7n, fromStream: true });
    } catch (thrown) {
      throw this.session.error(thrown, "tell its WAL position");
    }
  }

  /**
   * Writes a message into the WAL, which moves the position and passes through the stream. It is transactional, for only
   * a commit flushes WAL at once, and only flushed WAL is streamed.
   *
   * @returns its position: behind every commit that could be seen before this call
   * @throws postgres.js' errors
   */
  async writeSomething(): Promise<Lsn> {
    const [row] = await this.session.builders.unsafe(
      "SELECT pg_catalog.pg_logical_emit_message(true, 'pgsync', '')::pg_catalog.text",
    ).values();
    return parseLsn(z.tuple([z.string()]).parse(row)[0]);
  }

  async #look(): Promise<Look> {
    const [row] = await this.session.builders.unsafe(LOOK, [], { prepare: true }).values();
    const [snapshot, lsn, timeline] = lookRow.parse(row);
    this.#timeline = Number.parseInt(timeline, 16);
    return { snapshot: parseSnapshot(snapshot), lsn: parseLsn(lsn) };
  }
}
