import { checkServer } from "../../catalog/checks.ts";
import type { ServerFacts } from "../../catalog/types.ts";
import { PgsyncError } from "../../errors/error.ts";
import { errorContext, type Sql } from "../../postgres/connect.ts";
import { postgresError } from "../../postgres/errors.ts";
import { inspectSlot } from "../../replication/slot.ts";
import type { DocumentSchema } from "../../schema/tree.ts";
import { type DatabaseState, identityAt, readDatabase } from "../database_state.ts";
import { openUnlessHeld } from "./open_checkpoint.ts";
import { checkBelonging } from "../slot/slot_position.ts";

/** What a start reads. */
export interface FirstRead {
  readonly database: string;
  readonly documents: readonly DocumentSchema[];
  readonly slotName: string;
  /** Of the checkpoint file, which need not exist. */
  readonly path: string;
  /** What is missing may be made. */
  readonly bootstrap: boolean;
  /** What is thrown of a standby; left out or null: STANDBY. */
  readonly onStandby?: PgsyncError | null;
}

/**
 * Reads a database for a start. Where its tables are not those of the schema file, whose server it is goes first: a standby that lags behind,
 * or another cluster, is not mended by another schema file.
 *
 * @throws PgsyncError STANDBY, CHECKPOINT_FOREIGN; else as `readDatabase`
 */
export async function readFirst(admin: Sql, wanted: FirstRead): Promise<DatabaseState> {
  const { database, documents, slotName } = wanted;
  let server: ServerFacts | null = null;
  const onServer = (found: ServerFacts) => {
    server = found;
    const [problem] = checkServer(found);
    const refusal = wanted.onStandby ?? problem;
    if (found.inRecovery && refusal !== undefined) throw refusal;
  };
  try {
    return await readDatabase(admin, database, documents, slotName, onServer);
  } catch (thrown) {
    if (server !== null) await refuseForeign(admin, server, wanted);
    throw thrown;
  }
}

async function refuseForeign(admin: Sql, server: ServerFacts, wanted: FirstRead): Promise<void> {
  const { database, slotName, path, bootstrap } = wanted;
  if (server.inRecovery) return;
  const file = openUnlessHeld(path);
  if ("state" in file) return;
  using checkpoint = file;
  let hasSlot: boolean;
  try {
    hasSlot = await inspectSlot(admin, slotName) !== null;
  } catch (thrown) {
    throw postgresError(thrown, errorContext(admin, "read its slots"));
  }
  checkBelonging(identityAt(server, database, slotName), checkpoint, bootstrap && !hasSlot);
}
