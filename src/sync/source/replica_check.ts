import { getLogger } from "@logtape/logtape";
import { lookAtStandby, refuseUnfit, type Replica, replicaError } from "../../documents/standby_look.ts";
import { connectPostgres, errorContext } from "../../postgres/connect.ts";
import { isTemporary } from "../../retry/patience.ts";

const logger = getLogger(["pgsync", "sync"]);

/**
 * Looks whether documents may be read from a server, before anything is made. One that is away is left to the run, which
 * waits for it.
 *
 * @throws PgsyncError REPLICA_UNFIT, POSTGRES_LOGIN, PRIVILEGE_MISSING
 */
export async function checkReplica(replica: Replica, database: string): Promise<void> {
  const sql = connectPostgres(replica.options, { database, purpose: "check", max: 1, kind: "builder" });
  try {
    refuseUnfit(await lookAtStandby(sql), replica);
  } catch (thrown) {
    const error = replicaError(thrown, errorContext(sql, "tell how far it is"));
    if (!isTemporary(error)) throw error;
    logger.warn("the replica is not there yet: {message}", { message: error.message });
  } finally {
    await sql.end({ timeout: 0 });
  }
}
