import { connectPostgres, errorContext } from "../../postgres/connect.ts";
import { postgresError } from "../../postgres/errors.ts";
import type { PostgresOptions } from "../../postgres/options.ts";
import { onlyPrimary } from "../../postgres/server_identity.ts";
import { MAKING_LOCK_CLASS } from "../../replication/slot_maker.ts";
import { orAborted } from "../../retry/abort.ts";

/** Which slot is to be made, and where. */
interface SlotToMake {
  readonly options: PostgresOptions;
  readonly database: string;
  readonly slot: string;
}

/**
 * Keeps other processes that stand by from making a slot at the same time: an advisory lock of its database, in a session of its own,
 * whose end frees it.
 */
export class MakingLock implements AsyncDisposable {
  private constructor(private readonly end: () => Promise<void>) {}

  /**
   * Takes the lock, unless another process has it. Nothing is left behind where that fails, or is aborted.
   *
   * @param onLost called once when the session ends by itself: another process may have the lock from then on
   * @returns null where another process has it
   * @throws PgsyncError of PostgreSQL; the signal's reason
   */
  static async take(
    { options, database, slot }: SlotToMake,
    onLost: () => void,
    signal: AbortSignal,
  ): Promise<MakingLock | null> {
    let isTaken = false;
    const onClose = () => {
      if (isTaken) onLost();
      isTaken = false;
    };
    const sql = connectPostgres(options, {
      ...{ database, purpose: "making", max: 1, kind: "admin", onClose },
      admit: onlyPrimary(options),
      isMissed: true,
    });
    const end = async () => {
      isTaken = false;
      await sql.end({ timeout: 0 });
    };
    try {
      const asking = sql<{ locked: boolean }[]>`
        SELECT pg_catalog.pg_try_advisory_lock(${MAKING_LOCK_CLASS}, pg_catalog.hashtext(${slot})) AS locked`;
      const [row] = await orAborted(asking.execute(), signal);
      isTaken = row?.locked === true;
    } catch (thrown) {
      // The server may have given us the lock, and nobody wants it.
      await end();
      signal.throwIfAborted();
      throw postgresError(thrown, errorContext(sql, "take an advisory lock"));
    }
    if (isTaken) return new MakingLock(end);
    await end();
    return null;
  }

  /** Gives the lock back. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}
