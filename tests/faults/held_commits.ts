/** Commits that wait for a synchronous standby which does not answer: in the WAL and in the stream, but shown to nobody. */
import assert from "node:assert/strict";
import postgres from "postgres";
import { eventually } from "../support/eventually.ts";

/** Settings of a server on which a commit waits for ever where its session asks for it. */
export const NOBODY_ANSWERS = { synchronous_standby_names: "nobody", synchronous_commit: "local" };

/**
 * Waits until a new `synchronous_standby_names` counts. What a session shows of it says nothing: commits wait, or do not,
 * by what the checkpointer noted when it read the settings, which may be later (SyncRepUpdateSyncStandbysDefined).
 *
 * @param admin a superuser's session whose own commits do not wait
 */
export async function untilCommitsWait(url: string, admin: postgres.Sql): Promise<void> {
  const probe = postgres(url, { max: 1, onnotice: () => {}, connection: { synchronous_commit: "on" } });
  try {
    const [row] = await probe<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`;
    const pid = row?.pid ?? assert.fail();
    await eventually(async () => {
      let isCommitted = false;
      const committed = probe`SELECT pg_logical_emit_message(true, 'probe', '')`.then(() =>
        isCommitted = true
      );
      const waits = await eventually(async () => {
        const found = await admin`SELECT FROM pg_stat_activity WHERE pid = ${pid} AND wait_event = 'SyncRep'`;
        if (found.length > 0) return "waits" as const;
        return isCommitted && "committed" as const;
      }, { what: "a commit to wait or to end", interval: 5 });
      if (waits === "waits") await admin`SELECT pg_cancel_backend(${pid})`;
      await committed;
      return waits === "waits";
    }, { what: "commits to wait for a standby" });
  } finally {
    await probe.end({ timeout: 1 });
  }
}

/** Transactions that wait, in the order of their commits. */
export class HeldCommits {
  readonly #sessions: {
    readonly sql: postgres.Sql;
    readonly pid: number;
    readonly done: Promise<unknown>;
  }[] = [];

  private constructor(private readonly url: string, private readonly admin: postgres.Sql) {}

  /**
   * Runs each text in a session of its own, one after the other, each to the wait at its commit.
   *
   * @param url of the database
   * @param admin a superuser's session, to look and to release
   */
  static async start(url: string, admin: postgres.Sql, texts: readonly string[]): Promise<HeldCommits> {
    const held = new HeldCommits(url, admin);
    for (const text of texts) await held.#add(text);
    return held;
  }

  get count(): number {
    return this.#sessions.length;
  }

  /** Gives up the wait: the server has committed, and shows it now. */
  async release(at: number): Promise<void> {
    const session = this.#at(at);
    await this.admin`SELECT pg_cancel_backend(${session.pid})`;
    await session.done;
    await session.sql.end({ timeout: 1 });
  }

  /** Ends the session in its wait: its client hears of no success, yet the server has committed. */
  async terminate(at: number): Promise<void> {
    const session = this.#at(at);
    await this.admin`SELECT pg_terminate_backend(${session.pid})`;
    await assert.rejects(session.done);
    await session.sql.end({ timeout: 1 });
  }

  async #add(text: string): Promise<void> {
    const sql = postgres(this.url, { max: 1, onnotice: () => {}, connection: { synchronous_commit: "on" } });
    const [row] = await sql<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`;
    const pid = row?.pid ?? assert.fail();
    const done = sql.unsafe(text).execute();
    // Where the test fails first, the server goes while it still waits; the test's own failure is the one to show.
    done.catch(() => {});
    this.#sessions.push({ sql, pid, done });
    await eventually(async () => {
      const rows = await this
        .admin`SELECT FROM pg_stat_activity WHERE pid = ${pid} AND wait_event = 'SyncRep'`;
      assert.equal(rows.length, 1);
    }, { what: `the commit to wait: ${text}`, interval: 5 });
  }

  #at(at: number) {
    return this.#sessions[at] ?? assert.fail(`nothing waits at ${at}`);
  }
}
