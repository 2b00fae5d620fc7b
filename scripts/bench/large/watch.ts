/** What is seen of a run while it works: its memory, and whether the server hears from it. */
import { setInterval } from "node:timers/promises";
import type postgres from "postgres";
import { memoryOf } from "../measure/usage.ts";

const SAMPLE_MS = 200;

/** Memory at one moment. */
export interface Sample {
  /** Since the start of the watch, in seconds. */
  readonly at: number;
  readonly resident: number;
}

/** What was seen; memory in bytes. */
export interface Seen {
  readonly samples: readonly Sample[];
  /** VmHWM at the end: the most since the process began. */
  readonly peakRss: number;
  /** The longest time that the server had no status update, in seconds, by pg_stat_replication.reply_time. */
  readonly longestSilence: number;
  /** Processes of the server that served the slot: more than one, and the connection was lost. */
  readonly walsenders: number;
}

/** Watches a process until `stop` is called. */
export function watch(pid: number, sql: postgres.Sql): { stop(): Promise<Seen> } {
  const ended = new AbortController();
  const samples: Sample[] = [];
  const walsenders = new Set<number>();
  let peakRss = 0;
  let longestSilence = 0;
  const started = performance.now();
  const look = async () => {
    const memory = memoryOf(pid);
    if (memory !== null) {
      samples.push({ at: (performance.now() - started) / 1000, resident: memory.resident });
      peakRss = memory.peak;
    }
    const rows = await sql<{ pid: number; silence: number }[]>`
      SELECT pid, extract(epoch FROM clock_timestamp() - reply_time)::float8 AS silence
      FROM pg_stat_replication WHERE application_name = 'pgsync stream'`;
    for (const row of rows) {
      walsenders.add(row.pid);
      longestSilence = Math.max(longestSilence, row.silence);
    }
  };
  const watching = (async () => {
    try {
      for await (const _ of setInterval(SAMPLE_MS, undefined, { signal: ended.signal })) await look();
    } catch (error) {
      if (!ended.signal.aborted) throw error;
    }
  })();
  return {
    async stop() {
      ended.abort();
      await watching;
      await look();
      return { samples, peakRss, longestSilence, walsenders: walsenders.size };
    },
  };
}

/** Memory when a share of the time was over. @param share from 0 to 1 */
export function residentAt({ samples }: Seen, share: number): number {
  const end = samples.at(-1)?.at ?? 0;
  return samples.find(({ at }) => at >= end * share)?.resident ?? NaN;
}
