/** What there is to know of a run that does not come on, for the failure of the test that waited for it. */
import { readFile } from "node:fs/promises";
import postgres from "postgres";

/** Who may be waiting for whom. */
export interface Surroundings {
  /** The database that is followed. */
  readonly databaseUrl: string;
  /** Null where it is not to be asked. */
  readonly searchUrl: string | null;
}

/** What does not answer is not waited for. */
const ANSWER_WITHIN_MS = 5_000;

/** What is asked of the server, by the name under which the answer is shown. */
const QUESTIONS = {
  positions: `
    SELECT pg_current_wal_insert_lsn() AS inserted, pg_current_wal_lsn() AS written,
      pg_current_wal_flush_lsn() AS flushed, now()`,
  slots: "SELECT * FROM pg_replication_slots WHERE database = current_database()",
  walsenders: "SELECT * FROM pg_stat_replication",
  sessions: `
    SELECT pid, datname, application_name, client_port, backend_type, state, wait_event_type, wait_event,
      pg_blocking_pids(pid) AS blocked_by, now() - state_change AS since, left(query, 200) AS query
    FROM pg_stat_activity
    WHERE pid <> pg_backend_pid()`,
  prepared: "SELECT * FROM pg_prepared_xacts",
} as const;

/** What is asked of the search engine. */
const PATHS = [
  "/_tasks?detailed",
  "/_cluster/pending_tasks",
  "/_cluster/health",
];

/**
 * Tells what the slots, sessions and positions of PostgreSQL are, what the search engine is at work on, and in which connections to both there
 * are bytes that nobody has read (the last are those of this machine, where it is Linux). It never throws, and takes no longer than some seconds.
 */
export async function surroundings({ databaseUrl, searchUrl }: Surroundings): Promise<string> {
  const parts = await Promise.all([
    ...Object.entries(QUESTIONS).map(([name, sql]) => told(name, () => ask(databaseUrl, sql))),
    ...searchUrl === null ? [] : PATHS.map((path) => told(path, () => get(searchUrl, path))),
    told("unread", async () => await unread([databaseUrl, ...searchUrl === null ? [] : [searchUrl]])),
  ]);
  return parts.join("\n");
}

/** Values as JSON; bigints as text. */
function shown(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => typeof each === "bigint" ? String(each) : each);
}

/** A line with an answer, or why there is none. It never throws, and takes no longer than some seconds. */
export async function told(name: string, look: () => Promise<unknown>): Promise<string> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(resolve, ANSWER_WITHIN_MS, `no answer within ${ANSWER_WITHIN_MS} ms`);
  });
  const answer = look().then(shown, (error: unknown) => `not to be had: ${error}`);
  const text = await Promise.race([answer, late]);
  clearTimeout(timer);
  return `  ${name}: ${text}`;
}

/** On a connection of its own: those of the test may be what is stuck. */
async function ask(databaseUrl: string, statement: string): Promise<unknown> {
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {}, connect_timeout: 5 });
  try {
    return await sql.unsafe(statement);
  } finally {
    void sql.end({ timeout: 0 });
  }
}

async function get(searchUrl: string, path: string): Promise<unknown> {
  const response = await fetch(new URL(path, searchUrl), { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  return await response.json();
}

/**
 * The connections of this machine with a server in which bytes lie that nobody has taken (`rx_queue`, `tx_queue` of /proc/net/tcp): those of
 * whoever is stuck. The local port is `client_port` of pg_stat_activity.
 */
async function unread(urls: readonly string[]): Promise<unknown> {
  const table = "/proc/net/tcp";
  const ports = new Set(urls.map((url) => Number(new URL(url).port)));
  const text = await readFile(table, "utf8");
  return text.trim().split("\n").slice(1).flatMap((line) => {
    const [, local = "", remote = "", , queues = ""] = line.trim().split(/\s+/);
    const [from = 0, to = 0] = [local, remote].map((address) =>
      Number.parseInt(address.split(":")[1] ?? "", 16)
    );
    const [unsent = 0, waiting = 0] = queues.split(":").map((bytes) => Number.parseInt(bytes, 16));
    const isOfServer = ports.has(from) || ports.has(to);
    return isOfServer && unsent + waiting > 0 ? [{ from, to, unsent, unread: waiting }] : [];
  });
}
