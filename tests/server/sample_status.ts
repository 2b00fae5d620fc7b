import { Registry } from "prom-client";
import { createApp, type StatusSource } from "../../src/server/app.ts";
import { DeadLetters } from "../../src/sync/dead_letters/dead_letters.ts";
import { parseLsn } from "../../src/replication/lsn.ts";
import type { RunStatus, SyncStatus } from "../../src/status/status.ts";

/** A healthy database that streams; tests change what they are about. */
export const STREAMING: SyncStatus = {
  phase: "streaming",
  startedAt: new Date("2026-01-01T00:00:00Z"),
  database: "shop",
  postgresVersion: "17.4",
  searchEngine: "Elasticsearch 8.19.21",
  indices: [{
    index: "books",
    generation: "books_1",
    load: {
      state: "done",
      documents: 20_000,
      estimate: 19_800,
      chunksDone: 12,
      chunks: 12,
      startedAt: new Date("2026-01-01T00:00:01Z"),
      finishedAt: new Date("2026-01-01T00:00:05Z"),
    },
    indexed: 20_345,
    deleted: 6,
    deadLetters: 2,
  }],
  stream: {
    slot: "pgsync_shop",
    publication: "pgsync_shop",
    connected: true,
    received: parseLsn("16/B374D900"),
    confirmed: parseLsn("16/B374D900"),
    server: parseLsn("16/B374DA00"),
    retainedBytes: 4096,
    safeBytes: null,
    lastCommitAt: new Date("2026-01-01T00:59:50Z"),
    reconnects: 3,
  },
  tablesLookedAt: new Date("2026-01-01T00:59:58Z"),
  maxDeadLetters: 10_000,
  ready: true,
  standby: false,
  notReady: [],
  warnings: [],
  faults: [],
};

/** The same while it still loads, and behind. */
export const LOADING: SyncStatus = {
  ...STREAMING,
  phase: "loading",
  ready: false,
  notReady: ["books is being loaded"],
  warnings: ["Two rows of <view> have one key."],
  stream: { ...STREAMING.stream, confirmed: parseLsn("16/B374D800"), safeBytes: 1_000_000 },
  faults: [{
    code: "SEARCH_UNREACHABLE",
    message: "The search engine <script> did not answer.",
    remedy: "Check that it runs.",
    next: "retry",
    at: new Date("2026-01-01T00:30:00Z"),
  }],
};

/** A run of these databases. */
export function run(...databases: SyncStatus[]): RunStatus {
  return {
    startedAt: new Date("2026-01-01T00:00:00Z"),
    ready: databases.every(({ ready }) => ready),
    standby: databases.some(({ standby }) => standby),
    notReady: databases.flatMap(({ notReady }) => notReady),
    memory: { limitBytes: 67_108_864, heldBytes: 2_097_152, mostBytes: 4_194_304 },
    databases,
  };
}

/** The HTTP interface of a run that streams; tests change what they are about. */
export function sampleApp(source: Partial<StatusSource> = {}) {
  return createApp({
    status: () => run(STREAMING),
    metrics: new Registry(),
    version: "9.9.9",
    deadLetters: { access: new DeadLetters(new Map(), null), indices: [] },
    access: { token: "none has this one", guardsStatus: false, isOwnName: () => true },
    ...source,
  });
}
