import { PgsyncError } from "../errors/error.ts";
import type { Lsn } from "./lsn.ts";

/**
 * What CopyData carries between a walsender and its client
 * (https://www.postgresql.org/docs/current/protocol-replication.html).
 */

/** Where the server stands. */
export interface Keepalive {
  readonly kind: "keepalive";
  /** The end of WAL that the server has gone through for this slot. */
  readonly walEnd: Lsn;
  readonly replyRequested: boolean;
}

/** One message of the output plugin. */
export interface XLogData {
  readonly kind: "data";
  /** The LSN of the record; not in the order of the stream, and 0 for relations and types. */
  readonly walStart: Lsn;
  readonly walEnd: Lsn;
  /** The message, a slice of the frame. */
  readonly payload: Buffer;
}

const XLOG_DATA = 0x77; // w
const KEEPALIVE = 0x6b; // k
const XLOG_DATA_HEADER = 25;
const KEEPALIVE_LENGTH = 18;

/**
 * Reads one frame from the server.
 *
 * @throws PgsyncError REPLICATION_PROTOCOL
 */
export function readFrame(frame: Buffer): XLogData | Keepalive {
  if (frame[0] === XLOG_DATA && frame.length >= XLOG_DATA_HEADER) {
    return {
      kind: "data",
      walStart: frame.readBigUInt64BE(1),
      walEnd: frame.readBigUInt64BE(9),
      payload: frame.subarray(XLOG_DATA_HEADER),
    };
  }
  if (frame[0] === KEEPALIVE && frame.length === KEEPALIVE_LENGTH) {
    return { kind: "keepalive", walEnd: frame.readBigUInt64BE(1), replyRequested: frame[17] === 1 };
  }
  throw new PgsyncError(
    "REPLICATION_PROTOCOL",
    `The replication stream carried a frame of ${frame.length} bytes that cannot be read.`,
  );
}

/** How far we are. */
export interface Progress {
  /** Received. */
  readonly written: Lsn;
  /** Durable: the server need not keep or send it any more. */
  readonly flushed: Lsn;
  readonly applied: Lsn;
}

/** 2000-01-01 in milliseconds since 1970. */
const POSTGRES_EPOCH_MS = 946_684_800_000;

/**
 * Writes a standby status update.
 *
 * @param nowMs milliseconds since 1970
 * @param askForReply whether the server shall answer at once
 */
export function statusUpdate(progress: Progress, nowMs: number, askForReply: boolean): Buffer {
  const frame = Buffer.alloc(34);
  frame[0] = 0x72; // r
  frame.writeBigUInt64BE(progress.written, 1);
  frame.writeBigUInt64BE(progress.flushed, 9);
  frame.writeBigUInt64BE(progress.applied, 17);
  frame.writeBigInt64BE(BigInt(Math.round(nowMs - POSTGRES_EPOCH_MS)) * 1000n, 25);
  frame[33] = askForReply ? 1 : 0;
  return frame;
}
