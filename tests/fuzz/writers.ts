/** The writers of a trial: sessions that do steps, each in its order, all at the same time. */
import { join } from "node:path";
import postgres from "postgres";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";
import { alters, isSavepoint, type Statement, type Step } from "./work.ts";

/** What became of the work. */
export interface WorkCounts {
  /** Statements run, and how many of them failed. */
  statements: number;
  failed: number;
  /** Statements that changed a row at least. */
  effective: number;
}

/**
 * Errors that an application must expect, by SQLSTATE: a constraint, a value that does not fit (into an index, too), a deadlock; and where columns come and go, one that is gone or there already.
 */
const EXPECTED = /^(22|23|40)|^(54000|55P03|42703|42701|0A000|55006)$/;

type Session = postgres.ReservedSql;

/** The trial cannot be carried out; nothing is said of the run. */
export class TrialFault extends Error {
  override readonly name = "TrialFault";
}

/** Sessions that write. To be closed. */
export class Writers {
  readonly counts: WorkCounts = { statements: 0, failed: 0, effective: 0 };
  readonly #url: string;
  readonly #admin: postgres.Sql;
  readonly #pools: postgres.Sql[] = [];
  readonly #sessions = new Map<number, Session>();

  readonly #folder = temporaryFolder("fuzz-copy");
  /** Told after each step that does more than change rows. */
  onAltered: () => void = () => {};

  constructor(url: string) {
    this.#url = url;
    this.#admin = postgres(url, { max: 1, onnotice: () => {} });
  }

  /** Does the steps, those of one writer in order, and returns when all are done. @throws TrialFault where a statement is at fault itself */
  async work(steps: readonly Step[]): Promise<void> {
    const byWriter = Map.groupBy(steps, (step) => step.writer);
    await Promise.all([...byWriter].map(async ([writer, own]) => {
      const session = await this.#session(writer);
      for (const step of own) {
        await this.#step(session, step);
        if (alters(step)) this.onAltered();
      }
    }));
  }

  /** Ends the sessions: what they have counted is told to the server then. The next work begins new ones. */
  async rest(): Promise<void> {
    for (const session of this.#sessions.values()) session.release();
    this.#sessions.clear();
    await Promise.all(this.#pools.splice(0).map((pool) => pool.end({ timeout: 1 })));
  }

  async close(): Promise<void> {
    await this.rest();
    await this.#admin.end({ timeout: 1 });
    removeFolder(this.#folder);
  }

  async #session(writer: number): Promise<Session> {
    const known = this.#sessions.get(writer);
    if (known !== undefined) return known;
    const pool = postgres(this.#url, {
      max: 1,
      onnotice: () => {},
      // Writers get in each other's way all the time; nobody needs to wait for a second to learn of it.
      connection: { deadlock_timeout: 20, application_name: `writer ${writer + 1}` },
    });
    this.#pools.push(pool);
    const session = await pool.reserve();
    this.#sessions.set(writer, session);
    return session;
  }

  async #step(session: Session, { parts, end }: Step): Promise<void> {
    if (end === "none") {
      for (const part of parts) if (!isSavepoint(part)) await this.#statement(session, part);
      return;
    }
    await session.unsafe("BEGIN");
    for (const part of parts) {
      const done = isSavepoint(part)
        ? await this.#savepoint(session, part.statements, part.end)
        : await this.#statement(session, part);
      if (done) continue;
      await session.unsafe("ROLLBACK");
      return;
    }
    try {
      await session.unsafe(end === "commit" ? "COMMIT" : "ROLLBACK");
    } catch (error) {
      // What was deferred to the commit.
      this.#expect(error, "COMMIT");
      this.counts.failed++;
    }
  }

  async #savepoint(
    session: Session,
    statements: readonly Statement[],
    end: "release" | "rollback",
  ): Promise<boolean> {
    await session.unsafe("SAVEPOINT s");
    for (const statement of statements) {
      if (await this.#statement(session, statement)) continue;
      await session.unsafe("ROLLBACK TO s");
      return true;
    }
    await session.unsafe(end === "release" ? "RELEASE s" : "ROLLBACK TO s");
    return true;
  }

  /** @returns whether it could be done */
  async #statement(session: Session, { sql, rows, errors = [] }: Statement): Promise<boolean> {
    this.counts.statements++;
    try {
      if (rows !== undefined) {
        await this.#copy(session, sql, rows);
        this.counts.effective++;
      } else {
        const { count } = await session.unsafe(sql);
        if (count > 0) this.counts.effective++;
      }
      return true;
    } catch (error) {
      this.#expect(error, sql, errors);
      this.counts.failed++;
      return false;
    }
  }

  /**
   * The rows go through a file of the server's: postgres.js 3.4.9 tells nobody of an error that comes after the end of a
   * `COPY … FROM STDIN`.
   */
  async #copy(session: Session, sql: string, rows: string): Promise<void> {
    const file = join(this.#folder, `${this.counts.statements}.copy`);
    await this.#admin.unsafe(`COPY (${rows}) TO '${file}'`);
    await session.unsafe(sql.replace(/STDIN$/, `'${file}'`));
  }

  #expect(error: unknown, sql: string, others: readonly string[] = []): void {
    if (
      error instanceof postgres.PostgresError && (EXPECTED.test(error.code) || others.includes(error.code))
    ) return;
    throw new TrialFault(`the fuzz made a statement that cannot be run:\n${sql}`, { cause: error });
  }
}
