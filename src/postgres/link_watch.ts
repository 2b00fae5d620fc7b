import { delayOrAbort } from "../retry/backoff.ts";
import { connectPostgres, cutConnections, type Sql } from "./connect.ts";
import { PgsyncError } from "../errors/error.ts";
import type { PostgresOptions } from "./options.ts";
import { addressOf } from "./socket.ts";

/** How often a server is asked. */
const ASK_EVERY_MS = 10_000;
/** The longest silence that is waited for, */
const LONGEST_SILENCE_MS = 30_000;
/** and the shortest. */
const SHORTEST_SILENCE_MS = 1_000;
/** How long an answer that has come may take to be read. */
const READ_LATE_MS = 500;

/** What is watched, and who is told. */
export interface LinkWatchOptions {
  readonly options: PostgresOptions;
  readonly database: string;
  /** Called when the server did not answer, after all connections to the database were cut. */
  readonly onSilence: (fault: PgsyncError) => void;
}

/**
 * Notices that a server is gone without a word (a cut cable, a firewall that forgot the connections, a frozen machine). Nothing
 * says so of a statement that is waited for: it may take hours. So a connection of its own asks the server for nothing every 10 s. When no answer
 * comes for twice `wal_sender_timeout`, 30 s at most, all connections that were opened with these options are cut, the stream's
 * included, and what waited on them is tried again.
 *
 * @param signal ends the watch
 */
export async function watchLink(watched: LinkWatchOptions, signal: AbortSignal): Promise<void> {
  const { options, database, onSilence } = watched;
  const sql = connectPostgres(options, { database, purpose: "watch", max: 1, kind: "admin" });
  let limitMs = LONGEST_SILENCE_MS;
  try {
    while (!signal.aborted) {
      const answered = await answers(sql, limitMs, signal);
      if (answered === "silent") {
        cutConnections(options, database);
        onSilence(
          new PgsyncError(
            "POSTGRES_UNREACHABLE",
            `PostgreSQL at ${addressOf(options)} has been silent for ${limitMs} ms.`,
          ),
        );
      } else if (answered !== null) limitMs = answered;
      await delayOrAbort(Math.min(ASK_EVERY_MS, limitMs), signal);
    }
  } finally {
    await sql.end({ timeout: 0 });
  }
}

/** @returns how long the next answer may take; null where the connection failed, which all others notice by themselves */
async function answers(sql: Sql, limitMs: number, signal: AbortSignal): Promise<number | "silent" | null> {
  const over = new AbortController();
  const silence = delayOrAbort(limitMs, AbortSignal.any([signal, over.signal]));
  const answer = sql<{ timeout: string }[]>`
    SELECT setting AS timeout FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'`
    .then(([row]) => limitOf(Number(row?.timeout)), () => null);
  const overdue = silence.then(async () => {
    // We may have been frozen ourselves, and the answer is there, unread.
    await Promise.race([answer, delayOrAbort(READ_LATE_MS, signal)]);
    return signal.aborted || over.signal.aborted ? null : "silent" as const;
  });
  try {
    return await Promise.race([answer, overdue]);
  } finally {
    over.abort();
  }
}

function limitOf(walSenderTimeoutMs: number): number {
  if (!(walSenderTimeoutMs > 0)) return LONGEST_SILENCE_MS;
  return Math.min(LONGEST_SILENCE_MS, Math.max(SHORTEST_SILENCE_MS, walSenderTimeoutMs * 2));
}
