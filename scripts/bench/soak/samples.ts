/** What a running process takes, sample by sample. */
import { readdirSync, readlinkSync } from "node:fs";
import type postgres from "postgres";
import { isErrorCode } from "../../servers/process.ts";
import { memoryOf } from "../measure/usage.ts";

/** One look at the process. */
export interface Sample {
  /** Seconds since the start. */
  readonly at: number;
  /** Bytes of resident memory. */
  readonly resident: number;
  /** Open files, sockets included. */
  readonly files: number;
  readonly sockets: number;
  /** Its sessions, as PostgreSQL counts them. */
  readonly sessions: number;
  /** Bytes that its buffers hold, and the most that they have held; NaN where it did not answer. */
  readonly held: number;
  readonly mostHeld: number;
}

/** Looks at a process. @returns null where it is gone */
export async function sample(
  pid: number,
  at: number,
  sql: postgres.Sql,
  metrics: () => Promise<string>,
): Promise<Sample | null> {
  const memory = memoryOf(pid);
  const files = filesOf(pid);
  if (memory === null || files === null) return null;
  const [row] = await sql<{ sessions: number }[]>`
    SELECT count(*)::int AS sessions FROM pg_stat_activity WHERE application_name LIKE 'pgsync%'`;
  const text = await metrics();
  return {
    at,
    resident: memory.resident,
    files: files.length,
    sockets: files.filter((target) => target.startsWith("socket:")).length,
    sessions: row?.sessions ?? NaN,
    held: valueOf(text, "pgsync_memory_held_bytes"),
    mostHeld: valueOf(text, "pgsync_memory_held_max_bytes"),
  };
}

/** The value of a metric without labels. */
export function valueOf(metrics: string, name: string): number {
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(metrics)?.[1]);
}

/** What the open files of a process are; null where it is gone. */
function filesOf(pid: number): string[] | null {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((name) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${name}`)];
      } catch (error) {
        // Closed meanwhile.
        if (isErrorCode(error, "ENOENT")) return [];
        throw error;
      }
    });
  } catch (error) {
    if (isErrorCode(error, "ENOENT")) return null;
    throw error;
  }
}
