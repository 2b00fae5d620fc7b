/**
 * The JSON of `/status`: what the server sends and `pgsync status` reads. LSNs are text as PostgreSQL prints them,
 * times ISO 8601 in UTC, sizes in bytes, counts numbers. Fields may be added; none changes its meaning.
 */
import { z } from "zod";
import { formatLsn } from "../replication/lsn.ts";
import type { RunStatus, SyncStatus } from "../status/status.ts";

const time = z.iso.datetime();
const lsn = z.string().regex(/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/);
const count = z.number().int().nonnegative();

const loadJson = z.object({
  state: z.enum(["pending", "running", "done"]),
  documents: count,
  estimate: z.number(),
  chunksDone: count,
  chunks: count,
  startedAt: time.nullable(),
  finishedAt: time.nullable(),
});

const indexJson = z.object({
  index: z.string(),
  generation: z.string(),
  load: loadJson,
  indexed: count,
  deleted: count,
  deadLetters: count,
});

const streamJson = z.object({
  slot: z.string(),
  publication: z.string(),
  connected: z.boolean(),
  received: lsn,
  confirmed: lsn,
  server: lsn,
  /** Bytes of WAL between what is confirmed and the server's insert position. */
  lagBytes: z.number(),
  /** Age of the last change received while anything is unconfirmed; 0 when all is; null when unknown. */
  lagSeconds: z.number().nullable(),
  retainedBytes: z.number(),
  safeBytes: z.number().nullable(),
  lastCommitAt: time.nullable(),
  reconnects: count,
});

const faultJson = z.object({
  code: z.string(),
  message: z.string(),
  remedy: z.string(),
  next: z.enum(["retry", "halt", "resync"]),
  at: time,
});

const databaseJson = z.object({
  database: z.string(),
  phase: z.enum([
    "standby",
    "starting",
    "loading",
    "catching-up",
    "streaming",
    "stopping",
    "stopped",
    "halted",
  ]),
  ready: z.boolean(),
  /** Another process follows the slot, and this one could take over. */
  standby: z.boolean().default(false),
  notReady: z.array(z.string()),
  startedAt: time,
  postgresVersion: z.string(),
  searchEngine: z.string(),
  indices: z.array(indexJson),
  stream: streamJson,
  /** When the last look at the tables' definitions began that is completed. */
  tablesLookedAt: time.nullable(),
  /** More dead letters than these, of all indices, and it is not ready; null where there is no limit. */
  maxDeadLetters: count.nullable(),
  warnings: z.array(z.string()),
  faults: z.array(faultJson),
});

/** Of the buffers of the run, in bytes. */
const memoryJson = z.object({ limitBytes: count, heldBytes: z.number(), mostBytes: z.number() });

/** Reads the JSON of `/status`. */
export const statusJson = z.object({
  version: z.string(),
  startedAt: time,
  ready: z.boolean(),
  /** It stands by for one database or more, and is ready for the others. */
  standby: z.boolean().default(false),
  notReady: z.array(z.string()),
  memory: memoryJson,
  databases: z.array(databaseJson),
});

/** The JSON of `/status`. */
export type StatusJson = z.infer<typeof statusJson>;

/**
 * Makes the JSON of a snapshot.
 *
 * @param now to reckon the lag in seconds
 */
export function toStatusJson(status: RunStatus, version: string, now: Date): StatusJson {
  return {
    version,
    startedAt: status.startedAt.toISOString(),
    ready: status.ready,
    standby: status.standby,
    notReady: [...status.notReady],
    memory: { ...status.memory },
    databases: status.databases.map((database) => databaseToJson(database, now)),
  };
}

function databaseToJson(status: SyncStatus, now: Date): StatusJson["databases"][number] {
  const { stream } = status;
  return {
    database: status.database,
    phase: status.phase,
    ready: status.ready,
    standby: status.standby,
    notReady: [...status.notReady],
    startedAt: status.startedAt.toISOString(),
    postgresVersion: status.postgresVersion,
    searchEngine: status.searchEngine,
    indices: status.indices.map(({ index, generation, load, indexed, deleted, deadLetters }) => ({
      index,
      generation,
      load: {
        state: load.state,
        documents: load.documents,
        estimate: load.estimate,
        chunksDone: load.chunksDone,
        chunks: load.chunks,
        startedAt: load.startedAt?.toISOString() ?? null,
        finishedAt: load.finishedAt?.toISOString() ?? null,
      },
      indexed,
      deleted,
      deadLetters,
    })),
    stream: {
      slot: stream.slot,
      publication: stream.publication,
      connected: stream.connected,
      received: formatLsn(stream.received),
      confirmed: formatLsn(stream.confirmed),
      server: formatLsn(stream.server),
      lagBytes: lagBytes(status),
      lagSeconds: lagSeconds(status, now),
      retainedBytes: stream.retainedBytes,
      safeBytes: stream.safeBytes,
      lastCommitAt: stream.lastCommitAt?.toISOString() ?? null,
      reconnects: stream.reconnects,
    },
    tablesLookedAt: status.tablesLookedAt?.toISOString() ?? null,
    maxDeadLetters: status.maxDeadLetters,
    warnings: [...status.warnings],
    faults: status.faults.map(({ code, message, remedy, next, at }) => ({
      code,
      message,
      remedy,
      next,
      at: at.toISOString(),
    })),
  };
}

/** Bytes of WAL between what is confirmed and the server's insert position. */
export function lagBytes({ stream }: SyncStatus): number {
  return Math.max(0, Number(stream.server - stream.confirmed));
}

/**
 * How old the last change received is while something is unconfirmed, by this machine's clock against the server's;
 * 0 when everything that was received is confirmed; null when no commit has been seen yet.
 */
export function lagSeconds({ stream }: SyncStatus, now: Date): number | null {
  if (stream.confirmed >= stream.received) return 0;
  return stream.lastCommitAt === null
    ? null
    : Math.max(0, (now.getTime() - stream.lastCommitAt.getTime()) / 1000);
}
