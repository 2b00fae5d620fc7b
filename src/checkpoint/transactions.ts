import type { DatabaseSync } from "node:sqlite";

/** Transactions of one connection, one within the other. */
export class Transactions {
  #depth = 0;

  constructor(
    private readonly database: DatabaseSync,
    /** Runs statements, and makes errors for the operator of what they throw. */
    private readonly guarded: <T>(use: () => T) => T,
    /** Called when something was rolled back. */
    private readonly onRollback: () => void,
  ) {}

  /** As `Checkpoint.transaction`. */
  run<T>(work: () => T): T {
    const name = `level_${this.#depth}`;
    const [begin, commit, rollback] = this.#depth === 0
      ? ["BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"] as const
      : [`SAVEPOINT ${name}`, `RELEASE ${name}`, `ROLLBACK TO ${name}; RELEASE ${name}`] as const;
    this.#execute(begin);
    this.#depth += 1;
    try {
      const result = refusePromise(work());
      this.#execute(commit);
      return result;
    } catch (thrown) {
      // SQLite rolls back by itself after some errors (a full disk); then there is nothing to roll back.
      if (this.database.isTransaction) this.#execute(rollback);
      this.onRollback();
      throw thrown;
    } finally {
      this.#depth -= 1;
    }
  }

  #execute(sql: string): void {
    this.guarded(() => this.database.exec(sql));
  }
}

function refusePromise<T>(result: T): T {
  if (result instanceof Promise) {
    throw new TypeError("the work of a checkpoint transaction must be synchronous");
  }
  return result;
}
