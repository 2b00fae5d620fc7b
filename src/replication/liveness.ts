import type { ErrorCode } from "../errors/codes.ts";
import { PgsyncError } from "../errors/error.ts";
import { sqlStateOf } from "../postgres/errors.ts";
import { backoffDelay, type BackoffLimits } from "../retry/backoff.ts";
import { formatLsn, type Lsn } from "./lsn.ts";

/** The decisions of the stream about life and death; `stream.ts` and `follow.ts` act on them. */

/** When to speak and how long to listen. */
export interface LivenessTimings {
  /** How often the server is told how far we are. */
  readonly statusIntervalMs: number;
  /** A server that is silent for longer is given up; null: never. */
  readonly inboundLimitMs: number | null;
}

const LONGEST_STATUS_INTERVAL_MS = 10_000;
const SHORTEST_STATUS_INTERVAL_MS = 100;

/**
 * Derives the timings from the server's `wal_sender_timeout`: the server cuts a connection that has been silent for that long, so we speak three
 * times as often, and at least every 10 s; and we give it up in turn after twice that time.
 *
 * @param walSenderTimeoutMs in milliseconds; 0 where the server never cuts a connection
 */
export function livenessTimings(walSenderTimeoutMs: number): LivenessTimings {
  if (walSenderTimeoutMs <= 0) {
    return { statusIntervalMs: LONGEST_STATUS_INTERVAL_MS, inboundLimitMs: null };
  }
  const third = Math.floor(walSenderTimeoutMs / 3);
  return {
    statusIntervalMs: Math.max(SHORTEST_STATUS_INTERVAL_MS, Math.min(third, LONGEST_STATUS_INTERVAL_MS)),
    inboundLimitMs: walSenderTimeoutMs * 2,
  };
}

/** What is known of a connection at one moment; times from one monotonic clock, in milliseconds. */
export interface InboundState {
  readonly now: number;
  readonly lastInboundAt: number;
  /** We do not read now: silence says nothing. */
  readonly paused: boolean;
  readonly inboundLimitMs: number | null;
}

/** Whether the server has been silent for too long. */
export function inboundVerdict(state: InboundState): "alive" | "dead" {
  if (state.paused || state.inboundLimitMs === null) return "alive";
  return state.now - state.lastInboundAt > state.inboundLimitMs ? "dead" : "alive";
}

/** Whether a status update should ask for an answer: an idle server says nothing by itself while it hears from us. */
export function shouldAskForReply(now: number, lastInboundAt: number, timings: LivenessTimings): boolean {
  return timings.inboundLimitMs !== null && now - lastInboundAt >= timings.statusIntervalMs;
}

/** What the waits before a new connection are made of: a fixed part and a random part that grows. */
interface ReconnectPolicy extends BackoffLimits {
  readonly leastMs: number;
}

/** By what a connection failed or ended, and for how long it is waited then; whatever is missing here ends the following. */
export const RECONNECT: Partial<Record<ErrorCode, ReconnectPolicy>> = {
  // The server restarts, or the network is away.
  POSTGRES_UNREACHABLE: { leastMs: 100, baseMs: 500, capMs: 30_000 },
  POSTGRES_BUSY: { leastMs: 250, baseMs: 1_000, capMs: 30_000 },
  DECODING_ERROR: { leastMs: 250, baseMs: 1_000, capMs: 30_000 },
  // Mostly our own walsender of before, which the server has not missed yet.
  SLOT_ACTIVE: { leastMs: 200, baseMs: 500, capMs: 10_000 },
  // Whoever fails to log in again and again is locked out (fail2ban, managed services).
  POSTGRES_LOGIN: { leastMs: 30_000, baseMs: 30_000, capMs: 300_000 },
};

/** Waits for what may be over at any moment; whoever knows that it is may cut them short. */
export const MAY_HURRY: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "POSTGRES_UNREACHABLE",
  "POSTGRES_BUSY",
  "SLOT_ACTIVE",
]);

/**
 * Milliseconds to wait before the next connection, or null where no further attempt can help and the run has to halt.
 *
 * @param attempt how many attempts have failed in a row before: 0, 1, 2 …
 * @param connectedBefore whether a connection had been made with these settings; a login refused at the very first is a wrong setting
 * @param random from 0 to below 1; for tests
 */
export function reconnectDelay(
  error: PgsyncError,
  attempt: number,
  connectedBefore: boolean,
  random?: () => number,
): number | null {
  // A database that was renamed locks nobody out, and may have its name again at any moment.
  const isRenamed = sqlStateOf(error.cause) === "3D000";
  const policy = RECONNECT[isRenamed ? "POSTGRES_UNREACHABLE" : error.code];
  if (policy === undefined) return null;
  if ((connectedBefore ? error.nextOnceConnected : error.next) !== "retry") return null;
  return policy.leastMs + backoffDelay(attempt, policy, random);
}

/** Sessions that ended by one error of decoding at one place, in a row. */
export interface DecodingErrors {
  /** The last of them. */
  readonly fault: PgsyncError;
  /** Where the sessions began. */
  readonly from: Lsn;
  readonly count: number;
  /** When the first of them ended, in milliseconds of a monotonic clock. */
  readonly since: number;
}

/** A new walsender may have forgotten what misled the one before. */
const DECODING_ERRORS_AT_LEAST = 4;
const DECODING_ERRORS_FOR_MS = 10_000;

/**
 * Counts the sessions that end by the same error of decoding (DECODING_ERROR). It reads the same WAL and the same old catalog rows each
 * time, so most often it fails for ever where it fails once: PostgreSQL then holds on to the slot's WAL, and nothing beyond it is
 * told. One way there: in a transaction a savepoint with DDL is rolled back, and the catalog rows of later DDL get the places of its rows, of which the
 * decoding knows the old command numbers ("unexpected duplicate for tablespace", on PostgreSQL 17).
 *
 * @param before what was counted so far; null where the last session did not end so
 * @param from where the session began
 * @returns null where the fault is another one
 */
export function countDecodingError(
  before: DecodingErrors | null,
  fault: PgsyncError,
  from: Lsn,
  now: number,
): DecodingErrors | null {
  if (fault.code !== "DECODING_ERROR") return null;
  // Not by its words, in which an OID may be another one each time.
  const isSame = before?.from === from && sqlStateOf(before.fault.cause) === sqlStateOf(fault.cause);
  if (before === null || !isSame) return { fault, from, count: 1, since: now };
  return { ...before, fault, count: before.count + 1 };
}

/** What is to be said where the server will never decode what comes next: DECODING_FAILED; null where it may yet. */
export function decodingFailure(errors: DecodingErrors | null, now: number): PgsyncError | null {
  if (errors === null || errors.count < DECODING_ERRORS_AT_LEAST) return null;
  if (now - errors.since < DECODING_ERRORS_FOR_MS) return null;
  const place = errors.from === 0n ? "the slot's position" : formatLsn(errors.from);
  return new PgsyncError(
    "DECODING_FAILED",
    `After ${place}, ${errors.count} times in a row: ${errors.fault.message}`,
  );
}
